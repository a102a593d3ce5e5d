/** Small builders for elements. Everything that reaches the page through them is text. */
import { visible } from './text.js';

/**
 * @param {string} tag @param {Record<string, string>} [attributes] `class`, `data-…`, `aria-…`, …
 * @param {...(Node|string)} children strings become text nodes
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A button that calls `action`. */
export function button(text, className, action, attributes = {}) {
  const element = el('button', { type: 'button', class: className, ...attributes }, text);
  element.addEventListener('click', action);
  return element;
}

/** A button that copies what `text` returns, and says so for a moment. @param {() => string} text */
export function copyButton(label, text, className = 'button small') {
  const element = button(label, className, async () => {
    const done = await copy(text());
    element.textContent = done ? 'Copied' : 'Copying is blocked here';
    setTimeout(() => { element.textContent = label; }, 1500);
  });
  return element;
}

/** @param {string} text @returns {Promise<boolean>} */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** Plain http on another host than localhost has no clipboard interface; the old way still works there. */
function copyBySelection(text) {
  const area = el('textarea', { class: 'visually-hidden', 'aria-hidden': 'true' });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}

/** @param {string} text shown as code, invisible characters made visible */
export function code(text) {
  return el('code', {}, visible(text));
}

/** Text with `code` between back-ticks, as hints are written. @param {string} text @returns {Node[]} */
export function prose(text) {
  return text.split('`').map((part, index) => (index % 2 === 1 ? code(part) : document.createTextNode(visible(part, { multiline: true }))));
}
