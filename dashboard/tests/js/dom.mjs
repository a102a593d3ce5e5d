// A document of a few lines: enough for what renders rows, and it refuses every way of parsing HTML.
export class FakeElement {
  constructor(tag) {
    this.tagName = tag.toUpperCase();
    this.children = [];
    this.dataset = {};
    this.attributes = {};
    this.className = '';
    this.text = '';
    this.classList = { add: (name) => { this.className += ` ${name}`; } };
  }
  set textContent(text) { this.text = String(text); this.children = []; }
  get textContent() { return this.text + this.children.map((child) => child.textContent).join(''); }
  set innerHTML(_) { throw new Error('innerHTML is not allowed here'); }
  insertAdjacentHTML() { throw new Error('insertAdjacentHTML is not allowed here'); }
  append(...children) { this.children.push(...children); }
  setAttribute(name, value) { this.attributes[name] = String(value); }
}
export const fakeDocument = { createElement: (tag) => new FakeElement(tag) };
