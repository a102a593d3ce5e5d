/**
 * Looks again while something on the page is still on its way (`data-refresh`): the page is fetched in the background, and
 * loaded anew once it differs or nothing is on its way any more. Not under a reader's hands, and not where nobody looks.
 */
const EVERY_MS = 1000;
/** After this long nothing is likely to change before somebody looks again. */
const FOR_MS = 10 * 60_000;

const began = Date.now();
let known;

/** Somebody writes, chooses or marks something. */
function inUse() {
  return document.activeElement?.matches('input, select, textarea, summary') || !document.getSelection().isCollapsed;
}

async function look() {
  if (!document.hidden) {
    try {
      const response = await fetch(location.href, { headers: { Accept: 'text/html' } });
      // Above it are numbers that change all the time.
      const [, text = ''] = (await response.text()).split('<main', 2);
      known ??= text;
      const changed = text !== known || !text.includes('data-refresh');
      if (response.ok && !response.redirected && changed && !inUse()) {
        location.reload();
        return;
      }
    } catch { /* the server is away: what is shown stays */ }
  }
  if (Date.now() - began < FOR_MS) setTimeout(look, EVERY_MS);
}
if (document.querySelector('[data-refresh]')) look();
