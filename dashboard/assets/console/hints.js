/** The doctor's box: what the server noticed, in plain words, with a way to fix it where there is one. */
import { copyButton, el, prose } from './dom.js';
import { visible } from './text.js';

/** @typedef {{appId: string, appKey: string}} App */

/**
 * @param {{id: string, title: string, text: string}} hint
 * @param {App} app
 * @param {import('./kinds.js').Row} [row] the row it was found on
 * @returns {HTMLElement}
 */
export function hintBox(hint, app, row) {
  const box = el('section', { class: 'hint-box', 'data-test': 'hint', 'data-hint': hint.id }, el('h3', {}, visible(hint.title)), el('p', {}, ...prose(hint.text)));
  const actions = actionsFor(hint.id, app, row);
  if (actions.length > 0) box.append(el('div', { class: 'hint-actions' }, ...actions));
  return box;
}

/** @returns {HTMLElement[]} */
function actionsFor(id, app, row) {
  switch (id) {
    case 'app_id_as_key':
      return [copyButton('Copy this app’s key', () => app.appKey)];
    case 'unknown_key':
      return [copyButton('Copy this app’s key', () => app.appKey), copyButton('Copy php artisan config:clear', () => 'php artisan config:clear')];
    case 'origin_refused':
      return originActions(app, row?.origin);
    case 'signature_mismatch':
      return [el('a', { class: 'button small', href: `/dash/apps/${app.appId}/keys` }, 'Compare the secret')];
    default:
      return [];
  }
}

/** @param {App} app @param {string|undefined} origin */
function originActions(app, origin) {
  const label = origin ? `Add ${visible(origin)} to allowed origins` : 'Open allowed origins';
  const link = el('a', { class: 'button small', href: `/dash/apps/${app.appId}/settings#origins` }, label);
  return origin ? [link, copyButton('Copy the origin', () => origin)] : [link];
}
