/**
 * The toolbar: group chips, per-kind boxes and the search box. The query text is the only state; chips and boxes are
 * views of its `kind:` terms, so a link shows a colleague the same rows.
 */
import { el } from './dom.js';
import { GROUPS, KINDS, kindsOf } from './kinds.js';
import { parse, visibleKinds, withKinds, withTerm } from './query.js';
import { count, short } from './text.js';

export class Toolbar {
  #root; #input; #note; #changed; #chips = new Map(); #boxes = new Map();

  /** @param {HTMLElement} root @param {(text: string) => void} changed */
  constructor(root, changed) {
    this.#root = root;
    this.#changed = changed;
    this.#input = root.querySelector('[name=q]');
    this.#note = root.querySelector('[data-part=query-note]');
    const chips = root.querySelector('[data-part=chips]');
    for (const group of GROUPS) chips.append(this.#chip(group));
    this.#input.addEventListener('input', () => this.#apply(false));
    this.#input.form?.addEventListener('submit', (event) => event.preventDefault());
    this.#input.value = new URLSearchParams(location.search).get('q') ?? '';
    this.#apply(true);
  }

  get text() {
    return this.#input.value;
  }

  set text(text) {
    this.#input.value = text;
    this.#apply(true);
  }

  focus() {
    this.#input.focus();
    this.#input.select();
  }

  /** @param {string} field @param {string} value @param {boolean} [negated] */
  addTerm(field, value, negated = false) {
    this.text = withTerm(this.text, field, value, negated);
  }

  /** @param {import('./store.js').Store} store */
  counts(store) {
    for (const { id } of GROUPS) {
      const n = store.groupCount(id);
      const badge = this.#chips.get(id).querySelector('.chip-count');
      const [words, exact] = [short(n), count(n)];
      if (badge.textContent !== words) badge.textContent = words;
      // From 1,000 on the words stay the same while the number goes on.
      if (badge.title !== exact) badge.title = exact;
    }
    for (const [kind, { number }] of this.#boxes) {
      const words = short(store.counts.get(kind) ?? 0);
      if (number.textContent !== words) number.textContent = words;
    }
  }

  #chip({ id, label }) {
    const menuId = `kinds-${id}`;
    const toggle = el('button', { type: 'button', class: 'chip-toggle', 'aria-pressed': 'true', 'data-test': `chip-${id}` }, el('span', { class: 'chip-label' }, label), el('span', { class: 'chip-count' }, '0'));
    toggle.addEventListener('click', () => this.#toggleGroup(id));
    const more = el('button', { type: 'button', class: 'chip-more', popovertarget: menuId, 'aria-label': `Kinds of ${label.toLowerCase()}`, 'data-test': `chip-${id}-more` }, '▾');
    const menu = el('div', { class: 'kind-menu', popover: '', id: menuId, role: 'group', 'aria-label': label });
    for (const kind of kindsOf(id)) menu.append(this.#box(kind));
    // The popover layer knows no anchor in every browser yet: place it under its chip by hand.
    menu.addEventListener('toggle', (event) => {
      if (event.newState !== 'open') return;
      const at = toggle.getBoundingClientRect();
      menu.style.top = `${at.bottom + 4}px`;
      menu.style.left = `${Math.max(8, Math.min(at.left, document.documentElement.clientWidth - menu.offsetWidth - 8))}px`;
    });
    const chip = el('div', { class: `chip-group group-${id}` }, toggle, more, menu);
    this.#chips.set(id, chip);
    return chip;
  }

  #box(kind) {
    const input = el('input', { type: 'checkbox', 'data-test': `kind-${kind}` });
    input.addEventListener('change', () => {
      const kinds = visibleKinds(parse(this.text));
      if (input.checked) kinds.add(kind);
      else kinds.delete(kind);
      this.text = withKinds(this.text, kinds);
    });
    const number = el('span', { class: 'kind-n' }, '0');
    this.#boxes.set(kind, { input, number });
    const { glyph, tone, label } = KINDS[kind];
    return el('label', { class: `kind-box tone-${tone}` }, input, el('i', { class: 'glyph', 'aria-hidden': 'true' }, glyph), el('span', { class: 'kind-word' }, label), number);
  }

  #toggleGroup(id) {
    const kinds = visibleKinds(parse(this.text));
    const members = kindsOf(id);
    const on = members.some((kind) => kinds.has(kind));
    for (const kind of members) {
      if (on) kinds.delete(kind);
      else kinds.add(kind);
    }
    this.text = withKinds(this.text, kinds);
  }

  #apply(fromOutside) {
    const query = parse(this.text);
    const kinds = visibleKinds(query);
    for (const { id } of GROUPS) {
      const members = kindsOf(id);
      const shown = members.filter((kind) => kinds.has(kind)).length;
      const pressed = shown === 0 ? 'false' : shown === members.length ? 'true' : 'mixed';
      this.#chips.get(id).querySelector('.chip-toggle').setAttribute('aria-pressed', pressed);
    }
    for (const [kind, { input }] of this.#boxes) input.checked = kinds.has(kind);
    this.#note.textContent = query.problems.join(' ');
    this.#note.hidden = query.problems.length === 0;
    this.#input.setAttribute('aria-invalid', String(query.problems.length > 0));
    this.#root.classList.toggle('filtered', query.terms.length > 0);
    const url = new URL(location.href);
    if (this.text.trim() === '') url.searchParams.delete('q');
    else url.searchParams.set('q', this.text);
    if (url.href !== location.href) history.replaceState(null, '', url);
    this.#changed(this.text, fromOutside);
  }
}
