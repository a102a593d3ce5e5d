/**
 * Keeps the use of keys up to date: texts of the places marked `data-live`, and which steps of a change are done. When pairs came
 * or went, the page is loaded anew, but not under a reader's hands.
 */
const EVERY_MS = 1000;

const shown = [...document.querySelectorAll('[data-key]')].map((row) => row.dataset.key).join();
const address = document.querySelector('[data-keys]').dataset.keys;

/** Somebody writes, chooses, marks something or is about to revoke a pair. */
function inUse() {
  return document.activeElement?.matches('input, select, textarea, summary, details *')
    || document.querySelector('details[open]') !== null
    || !document.getSelection().isCollapsed;
}

function takeOver({ texts, done }) {
  for (const place of document.querySelectorAll('[data-live]')) {
    const text = texts[place.dataset.live];
    if (text !== undefined && place.textContent !== text) place.textContent = text;
  }
  for (const step of document.querySelectorAll('[data-step]')) {
    const now = String(done[step.dataset.step - 1] ?? false);
    if (step.dataset.done !== now) step.dataset.done = now;
  }
}

async function look() {
  if (!document.hidden) {
    try {
      const response = await fetch(address, { headers: { Accept: 'application/json' } });
      if (response.ok && !response.redirected) {
        const fresh = await response.json();
        if (fresh.keys.join() === shown) takeOver(fresh);
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
