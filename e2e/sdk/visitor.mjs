// A person at the pages without a browser: cookies, forms with their hidden fields, and the few errands that stories of
// the SDKs need from the dashboard (sign in, disable an app, set its origins). Looks are the browser tests' business.
import assert from 'node:assert/strict';
import { OWNER } from './harness.mjs';

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const decode = (text) =>
  text.replace(/&(#x[0-9a-f]+|#\d+|\w+);/gi, (whole, name) => {
    if (name.startsWith('#x') || name.startsWith('#X')) return String.fromCodePoint(Number.parseInt(name.slice(2), 16));
    if (name.startsWith('#')) return String.fromCodePoint(Number(name.slice(1)));
    return ENTITIES[name] ?? whole;
  });

function attributes(tag) {
  const found = {};
  for (const [, name, , , double, single, bare] of tag.matchAll(/([\w:-]+)(=("([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g)) {
    found[name.toLowerCase()] ??= decode(double ?? single ?? bare ?? '');
  }
  return found;
}

/** The forms of a page with the values that a browser would send. */
export function forms(html) {
  return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, head, inner]) => {
    const fields = [];
    for (const [, tag] of inner.matchAll(/<input\b([^>]*)>/gi)) {
      const { name, type = 'text', value, checked } = attributes(tag);
      if (!name || ['submit', 'button', 'image', 'reset'].includes(type)) continue;
      if (['checkbox', 'radio'].includes(type) && checked === undefined) continue;
      fields.push([name, value ?? (['checkbox', 'radio'].includes(type) ? 'on' : '')]);
    }
    for (const [, tag, text] of inner.matchAll(/<textarea\b([^>]*)>([\s\S]*?)<\/textarea>/gi)) {
      const { name } = attributes(tag);
      if (name) fields.push([name, decode(text).replace(/^\r?\n/, '')]);
    }
    for (const [, tag, options] of inner.matchAll(/<select\b([^>]*)>([\s\S]*?)<\/select>/gi)) {
      const { name } = attributes(tag);
      const all = [...options.matchAll(/<option\b([^>]*)>([^<]*)/gi)].map(([, option, label]) => ({ ...attributes(option), label: label.trim() }));
      const chosen = all.find((option) => option.selected !== undefined) ?? all[0];
      if (name && chosen) fields.push([name, chosen.value ?? chosen.label]);
    }
    const { action = '', method = 'get' } = attributes(head);
    return { action, method: method.toUpperCase(), fields, names: namesIn(inner), html: inner };
  });
}

function namesIn(inner) {
  return [...inner.matchAll(/<(?:input|textarea|select|button)\b([^>]*)>/gi)].map(([, tag]) => attributes(tag).name).filter(Boolean);
}

export class Visitor {
  constructor(base) {
    this.base = base;
    this.cookies = new Map();
  }

  async request(method, target, { body, headers = {} } = {}) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(new URL(target, this.base), {
      method,
      body,
      redirect: 'manual',
      headers: { ...(cookie ? { cookie } : {}), ...headers },
      signal: AbortSignal.timeout(15_000),
    });
    for (const line of answer.headers.getSetCookie()) {
      const [pair, ...rest] = line.split(';');
      const at = pair.indexOf('=');
      const name = pair.slice(0, at).trim();
      const gone = rest.some((part) => /^\s*max-age=0\s*$/i.test(part));
      if (gone) this.cookies.delete(name);
      else this.cookies.set(name, pair.slice(at + 1));
    }
    return { status: answer.status, headers: answer.headers, location: answer.headers.get('location'), text: await answer.text() };
  }

  /** Gets a page as a person does, through redirects. */
  async page(target) {
    let url = target;
    for (let hops = 0; hops < 5; hops += 1) {
      const answer = await this.request('GET', url, { headers: { accept: 'text/html' } });
      if (answer.status < 300 || answer.status > 399) return { ...answer, url };
      url = new URL(answer.location, new URL(url, this.base)).toString();
    }
    throw new Error(`${target} redirects in circles`);
  }

  /** Sends the form of `page` that `matches`, with `fields` filled in. */
  async submit(page, matches, fields = {}) {
    const form = forms(page.text).find(matches);
    assert.ok(form, `no such form on ${page.url}; it has ${JSON.stringify(forms(page.text).map(({ action, names }) => ({ action, names })))}`);
    const body = new URLSearchParams(form.fields.filter(([name]) => !(name in fields)));
    for (const [name, value] of Object.entries(fields)) if (value !== undefined) body.append(name, value);
    const target = new URL(form.action || page.url, new URL(page.url, this.base)).toString();
    return this.request(form.method, target, { body, headers: { origin: new URL(this.base).origin, 'sec-fetch-site': 'same-origin' } });
  }

  async signIn({ email, password }) {
    const answer = await this.submit(await this.page('/login'), has('email', 'password'), { email, password });
    assert.equal(answer.status, 303, `sign-in was answered ${answer.status}: ${answer.text.slice(0, 400)}`);
    return this;
  }

  async signUp({ email, password }) {
    const answer = await this.submit(await this.page('/signup'), has('email', 'password'), { email, password });
    assert.equal(answer.status, 303, `sign-up was answered ${answer.status}: ${answer.text.slice(0, 400)}`);
    return this;
  }

  async json(target) {
    const answer = await this.request('GET', target, { headers: { accept: 'application/json' } });
    assert.equal(answer.status, 200, `${target} was answered ${answer.status}: ${answer.text.slice(0, 400)}`);
    return JSON.parse(answer.text);
  }

  /** The console's rows of an app (back-fill). */
  async rows(app) {
    return (await this.json(`/v1/apps/${app.id}/events?limit=200`)).rows;
  }

  /** Today's numbers of an app, as the page shows them. */
  async stat(app) {
    return (await this.json(`/v1/apps/${app.id}/events?limit=1`)).stat;
  }
}

/** Matches a form by the fields that it has. */
export const has = (...names) => (form) => names.every((name) => form.names.includes(name));
/** Matches a form by where it goes. */
export const goesTo = (pattern) => (form) => pattern.test(form.action);

const owners = new WeakMap();

/** The first owner, signed in once per server process. */
export async function ownerOf(server) {
  if (!owners.has(server)) owners.set(server, new Visitor(server.url).signIn(OWNER));
  return owners.get(server);
}

/** Disables or enables an app by its form on the settings page. */
export async function switchApp(visitor, app, verb) {
  const page = await visitor.page(`/dash/apps/${app.id}/settings`);
  const button = new RegExp(`>\\s*${verb} app\\s*<`, 'i');
  const answer = await visitor.submit(page, (form) => goesTo(/\/settings\/enabled$/)(form) && button.test(form.html));
  assert.equal(answer.status, 303, `${verb} was answered ${answer.status}: ${answer.text.slice(0, 400)}`);
}

/** Sets the allowed origins of an app, one a line. */
export async function allowOrigins(visitor, app, origins) {
  const page = await visitor.page(`/dash/apps/${app.id}/settings`);
  const answer = await visitor.submit(page, has('origins'), { origins: origins.join('\n') });
  assert.equal(answer.status, 303, `setting the origins was answered ${answer.status}: ${answer.text.slice(0, 400)}`);
}
