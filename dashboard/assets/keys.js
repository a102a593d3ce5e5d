/**
 * Keeps the use of keys up to date: the page is fetched in the background, and what is marked `data-live` is taken over from
 * it. When pairs came or went, the page is loaded anew, but not under a reader's hands.
 */
const EVERY_MS = 1000;

const keysOf = (root) => [...root.querySelectorAll('[data-key]')].map((row) => row.dataset.key).join();

/** Somebody writes, chooses, marks something or is about to revoke a pair. */
function inUse() {
  return document.activeElement?.matches('input, select, textarea, summary, details *')
    || document.querySelector('details[open]') !== null
    || !document.getSelection().isCollapsed;
}

function takeOver(fresh) {
  for (const now of document.querySelectorAll('[data-live]')) {
    const next = fresh.querySelector(`[data-live="${CSS.escape(now.dataset.live)}"]`);
    if (!next || next.isEqualNode(now)) continue;
    now.replaceChildren(...[...next.childNodes].map((node) => document.importNode(node, true)));
    if (next.dataset.done !== undefined) now.dataset.done = next.dataset.done;
  }
}

async function look() {
  if (!document.hidden) {
    try {
      const response = await fetch(location.href, { headers: { Accept: 'text/html' } });
      if (response.ok && !response.redirected) {
        const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
        if (keysOf(fresh) === keysOf(document)) takeOver(fresh);
        else if (!inUse()) {
          location.assign(location.pathname);
          return;
        }
      }
    } catch { /* the server is away: what is shown stays */ }
  }
  setTimeout(look, EVERY_MS);
}
setTimeout(look, EVERY_MS);
