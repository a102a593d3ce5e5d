/** What a live page shares with the frame around it (core.js): its token, and the numbers of the header's strip. */

/** The token for requests that change or sign something. */
export function csrfToken() {
  return document.querySelector('meta[name=csrf-token]')?.content ?? '';
}

/** Hands fresh numbers to the strip; its poll then stays quiet. @param {string} appId @param {import('../live.js').Stat} stat */
export function feedStrip(appId, stat) {
  document.dispatchEvent(new CustomEvent('fanfare:stat', { detail: { app: Number(appId), ...stat } }));
}
