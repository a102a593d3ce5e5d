// Rules that hold for every page: found by following links, so that a new page is held to them too. Nothing in the browser's
// console (script errors, failed loads, violations of the policy), no sideways scroll at 360 px, headings and landmarks,
// both themes, and the forms without scripts.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { backEnd, client, subscribed } from '../sdk/clients.mjs';
import { OWNER, freePort, startServer, story, until } from '../sdk/harness.mjs';
import { Visitor, goesTo, has, ownerOf } from '../sdk/visitor.mjs';
import { complaining, cookiesOf, launch, newApp, signIn, signUp, visitor } from './chromium.mjs';

const NARROW = { width: 360, height: 740 };
const WIDE = { width: 1440, height: 900 };
/** Text on its background (WCAG 2.2 AA). */
const CONTRAST_MIN = 4.5;
const LARGE_CONTRAST_MIN = 3;

const server = await startServer({ env: { FANFARE_WEBHOOK_ALLOW: '127.0.0.0/8' } });
after(() => server.stop());
const browser = await launch();
const app = await server.app({ name: 'A name as long as a name may be, which is sixty characters', clientEvents: true });
const person = await ownerOf(server);

/** Something on every screen: rows of each length, a long channel, a refusal. */
async function bustle(t) {
  const long = `presence-${'very-long-channel-name-'.repeat(7)}`.slice(0, 164);
  const member = client(t, server, app, { user: { id: 'a-user-id-that-is-rather-long@example.test', info: { name: 'Ana' } } });
  await subscribed(member, long);
  await backEnd(server, app).trigger(long, 'App\\Events\\SomethingWithALongNamespace\\OrderShippedToTheOtherSide', { text: 'x'.repeat(3_000) });
  await backEnd(server, { ...app, secret: 'wrong' }).trigger('orders', 'shipped', {}).catch(() => {});
}

/** All addresses of this server below `root` that links lead to, from `waiting` on, seen as the owner. */
async function addresses(root, waiting) {
  const found = new Set();
  while (waiting.length > 0) {
    const target = waiting.shift();
    if (found.has(target)) continue;
    const page = await person.page(target);
    assert.equal(page.status, 200, `${target}, linked from a page, answers ${page.status}`);
    found.add(target);
    for (const [tag, , link] of page.text.matchAll(/<a\b[^>]*\shref=("|')(.*?)\1[^>]*>/g)) {
      if (/\sdownload\b/.test(tag)) continue; // a file, which a browser shows on no page
      const url = new URL(link, new URL(target, server.url));
      if (url.origin === server.url && url.pathname.startsWith(root)) waiting.push(url.pathname);
    }
  }
  return [...found];
}
/** An endpoint whose address is long, where nobody answers, and a delivery to it. */
async function webhook() {
  const root = `/dash/apps/${app.id}/webhooks`;
  const url = `http://127.0.0.1:${await freePort()}/${'a-path-that-is-rather-long/'.repeat(4)}`;
  const made = await person.submit(await person.page(`${root}/new`), has('url'), { url, kind: 'channel_occupied', headers: `Authorization: ${'x'.repeat(200)}` });
  assert.equal(made.status, 303, made.text.slice(0, 400));
  const sent = await person.submit(await person.page(made.location), goesTo(/\/test$/), { kind: 'client_event' });
  assert.equal(sent.status, 303, sent.text.slice(0, 400));
}
await webhook();
const inside = await addresses('/dash', ['/dash', '/dash/apps/new']);
const outside = ['/login', '/signup', '/no-such-page', '/login/link?token=spent', '/e/4002', ...(await addresses('/e/', ['/e/']))];

/** Visits each page in the given setting and hands it to `look`. */
async function everyPage(t, options, look) {
  await bustle(t);
  const guest = await visitor(t, browser, options);
  const owner = await visitor(t, browser, { ...options, cookies: cookiesOf(person, server) });
  for (const [page, targets] of [[guest, outside], [owner, [...inside, '/dash/apps/999999']]]) {
    for (const target of targets) {
      await page.goto(`${server.url}${target}`, { waitUntil: 'load' });
      const stated = page.locator('[data-test=console-status]');
      if (await stated.count()) await until(async () => (await stated.getAttribute('data-state')) === 'live', `${target} to be live`);
      await look(page, target);
    }
  }
  return [guest, owner];
}

story('no page has anything to complain about in the browser’s console', async (t) => {
  const pages = await everyPage(t, { viewport: WIDE }, async () => {});
  t.diagnostic(`${inside.length + outside.length + 1} pages: ${[...outside, ...inside].join(' ')}`);
  const complaints = pages.flatMap((page) => page.complaints).filter((text) => !/status of 404 .*(no-such-page|999999|spent|4002)/.test(text));
  // A page that is an error answer is itself a failed load in the eyes of the browser.
  const own = complaints.filter((text) => !/Failed to load resource: the server responded with a status of 4\d\d/.test(text) || !/(no-such-page|999999|spent|4002)\)$/.test(text));
  assert.deepEqual(own, []);
});

for (const [what, viewport] of [['360 px', NARROW], ['1440 px', WIDE]]) {
  story(`no page scrolls sideways at ${what}`, async (t) => {
    const wide = [];
    await everyPage(t, { viewport }, async (page, target) => {
      const found = await page.evaluate(() => {
        const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
        if (over <= 0) return null;
        const widest = [...document.querySelectorAll('body *')].map((one) => [one.getBoundingClientRect().right, one]).sort((a, b) => b[0] - a[0])[0][1];
        return `${over} px too wide, by <${widest.tagName.toLowerCase()} class="${widest.className}">`;
      });
      if (found) wide.push(`${target}: ${found}`);
    });
    assert.deepEqual(wide, []);
  });
}

story('every page has a title, one h1, a main landmark, a language, and names for what can be pressed or filled in', async (t) => {
  const wrong = [];
  await everyPage(t, { viewport: WIDE }, async (page, target) => {
    const found = await page.evaluate(() => {
      const problems = [];
      if (!document.title.trim()) problems.push('no title');
      if (!document.documentElement.lang) problems.push('no language');
      if (document.querySelectorAll('h1').length !== 1) problems.push(`${document.querySelectorAll('h1').length} h1`);
      if (document.querySelectorAll('main').length !== 1) problems.push('no single main');
      const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
      const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
      if (twice.length) problems.push(`ids used twice: ${twice}`);
      const visible = (one) => one.checkVisibility?.({ checkVisibilityCSS: true }) ?? true;
      for (const button of document.querySelectorAll('button, a[href], summary')) {
        if (visible(button) && !(button.innerText.trim() || button.getAttribute('aria-label') || button.title || button.getAttribute('aria-labelledby'))) problems.push(`nameless ${button.outerHTML.slice(0, 100)}`);
      }
      for (const field of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
        if (visible(field) && !(field.labels?.length || field.getAttribute('aria-label') || field.getAttribute('aria-labelledby'))) problems.push(`unlabelled ${field.outerHTML.slice(0, 100)}`);
      }
      for (const part of document.querySelectorAll('[aria-describedby], [aria-labelledby], [aria-controls]')) {
        for (const name of ['aria-describedby', 'aria-labelledby', 'aria-controls']) {
          for (const id of (part.getAttribute(name) ?? '').split(/\s+/).filter(Boolean)) if (!document.getElementById(id) && name !== 'aria-controls') problems.push(`${name} points nowhere: ${id}`);
        }
      }
      return problems;
    });
    wrong.push(...found.map((problem) => `${target}: ${problem}`));
  });
  assert.deepEqual(wrong, []);
});

for (const colorScheme of ['light', 'dark']) {
  story(`every text can be read on its background, ${colorScheme}`, async (t) => {
    const faint = [];
    await everyPage(t, { viewport: WIDE, colorScheme, reducedMotion: 'reduce' }, async (page, target) => {
      const found = await page.evaluate(([least, leastLarge]) => {
        const parse = (text) => {
          const numbers = /rgba?\(([^)]+)\)/.exec(text)?.[1].split(/[\s,/]+/).map(Number);
          return numbers && { r: numbers[0], g: numbers[1], b: numbers[2], a: numbers[3] ?? 1 };
        };
        const over = (top, under) => ({ r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a), b: top.b * top.a + under.b * (1 - top.a), a: 1 });
        const backdrop = (element) => {
          const layers = [];
          for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour?.a > 0) layers.push(colour);
            if (colour?.a === 1) break;
          }
          return layers.reverse().reduce((under, top) => over(top, under), { r: 255, g: 255, b: 255, a: 1 });
        };
        const light = ({ r, g, b }) => {
          const [x, y, z] = [r, g, b].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
          return 0.2126 * x + 0.7152 * y + 0.0722 * z;
        };
        const problems = new Map();
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        for (let node = walker.nextNode(); node; node = walker.nextNode()) {
          const element = node.parentElement;
          if (!node.data.trim() || !element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) || element.closest('script, style, noscript, [disabled], [aria-hidden=true], .visually-hidden, .skip')) continue;
          const style = getComputedStyle(element);
          const colour = parse(style.color);
          if (!colour || colour.a === 0) continue; // a covered secret
          const ground = backdrop(element);
          const [a, b] = [light(over(colour, ground)), light(ground)].sort((x, y) => y - x);
          const ratio = (a + 0.05) / (b + 0.05);
          const size = Number.parseFloat(style.fontSize);
          const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
          if (ratio < (large ? leastLarge : least) - 0.01) problems.set(`${element.tagName.toLowerCase()}.${element.className}`, `${ratio.toFixed(2)}:1 "${node.data.trim().slice(0, 40)}"`);
        }
        return [...problems].map(([where, what]) => `${where} ${what}`);
      }, [CONTRAST_MIN, LARGE_CONTRAST_MIN]);
      faint.push(...found.map((problem) => `${target}: ${problem}`));
    });
    assert.deepEqual(faint, []);
  });
}

story('the theme can be switched and stays', async (t) => {
  const page = await visitor(t, browser, { colorScheme: 'light', cookies: cookiesOf(person, server) });
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.goto(`${server.url}/dash`);
  const before = await ground();
  await page.click('[data-theme-toggle]');
  await until(async () => (await ground()) !== before, 'the other colours');
  const chosen = await ground();
  await page.goto(`${server.url}/dash/apps/${app.id}/keys`);
  assert.equal(await ground(), chosen);
});

story('without scripts one can sign up, make an app, read its keys, change settings and sign out', async (t) => {
  const page = await visitor(t, browser, { javaScriptEnabled: false });
  await signUp(page, server, 'no-scripts@example.test');
  const own = await newApp(page, server, 'Plain');
  assert.match(own.secret, /^[0-9a-f]{20}$/);
  assert.ok((await page.textContent('[data-test=env-block]')).includes(own.key));
  await page.goto(`${server.url}/dash/apps/${own.id}/settings`);
  await page.fill('[name=origins]', 'https://shop.test');
  await page.getByRole('button', { name: 'Save origins' }).click();
  await page.waitForLoadState();
  assert.equal(await page.inputValue('[name=origins]'), 'https://shop.test');
  await page.click('summary.avatar');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL(/\/login|\/$/);
  assert.match((await page.goto(`${server.url}/dash/apps/${own.id}`)).url(), /\/login/);
});

story('after signing in one lands on the page that was asked for', async (t) => {
  const page = await visitor(t, browser);
  await page.goto(`${server.url}/dash/apps/${app.id}/keys`);
  assert.match(page.url(), /\/login/);
  await page.fill('[name=email]', OWNER.email);
  await page.fill('[name=password]', OWNER.password);
  await page.press('[name=password]', 'Enter');
  await page.waitForURL(`${server.url}/dash/apps/${app.id}/keys`);
  // Never to somewhere else.
  const lured = await complaining(await (await browser.newContext()).newPage());
  t.after(() => lured.context().close());
  for (const next of ['https://evil.test/', '//evil.test/', '/\\evil.test', 'javascript:alert(1)']) {
    const visitorOf = new Visitor(server.url);
    const form = await visitorOf.page(`/login?next=${encodeURIComponent(next)}`);
    const answer = await visitorOf.submit(form, (one) => one.names.includes('password'), OWNER);
    assert.equal(new URL(answer.location, server.url).origin, server.url, next);
  }
});

story('the strip of numbers follows what happens while one looks at it', async (t) => {
  const page = await visitor(t, browser);
  await signIn(page, server, OWNER);
  await page.goto(`${server.url}/dash/apps/${app.id}`);
  const value = async (name) => Number((await page.textContent(`[data-test=usage-${name}]`)).replace(/\D/g, ''));
  const [connections, messages] = [await value('connections'), await value('messages')];
  await subscribed(client(t, server, app), 'strip');
  await backEnd(server, app).trigger('strip', 'said', {});
  await until(async () => (await value('connections')) === connections + 1, async () => `${connections + 1} connections, shown ${await value('connections')}`, 15_000);
  await until(async () => (await value('messages')) >= messages + 2, async () => `${messages + 2} messages, shown ${await value('messages')}`, 15_000);
});
