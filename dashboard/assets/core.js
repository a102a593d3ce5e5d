/**
 * What every page has: theme, copying, revealing, tabs, the account menu, confirmations, and numbers that stay fresh.
 * Everything is found by its data- attribute; without this script the pages still work.
 */
const COPIED_MS = 1600;
const TOAST_MS = 3500;
const USAGE_EVERY_MS = 5000;
/** After live numbers from a page's own feed, the poll stays quiet this long. */
const FED_MS = 15_000;

const root = document.documentElement;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/* theme ------------------------------------------------------------------------------------------------------------ */

function toggleTheme() {
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  try { localStorage.setItem('fanfare-theme', root.dataset.theme); } catch { /* lasts until the page is left */ }
}

/* toast ------------------------------------------------------------------------------------------------------------ */

let toastTimer;
function toast(text) {
  const box = document.querySelector('[data-toast]');
  if (!box) return;
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { box.hidden = true; }, TOAST_MS);
}
document.addEventListener('fanfare:toast', (event) => toast(event.detail));

/* copy ------------------------------------------------------------------------------------------------------------- */

async function writeClipboard(text) {
  if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
  // Plain http on another machine: the old way.
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'visually-hidden';
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  if (!done) throw new Error('refused');
}

async function copy(button) {
  const text = button.dataset.copyText ?? document.querySelector(button.dataset.copy)?.textContent;
  if (text === undefined) return;
  const word = button.querySelector('[data-copy-word]');
  try {
    await writeClipboard(text);
    button.classList.add('done');
    if (word) word.textContent = 'Copied';
    button.dataset.label ??= button.getAttribute('aria-label') ?? '';
    button.setAttribute('aria-label', 'Copied');
    toast('Copied.');
  } catch {
    toast('The browser refused to copy. Select the text instead.');
  }
  setTimeout(() => {
    button.classList.remove('done');
    if (word) word.textContent = 'Copy';
    if (button.dataset.label) button.setAttribute('aria-label', button.dataset.label);
  }, COPIED_MS);
}

/* reveal ----------------------------------------------------------------------------------------------------------- */

function reveal(button) {
  const shown = button.getAttribute('aria-pressed') !== 'true';
  const scope = button.closest('[data-secrets]');
  scope?.classList.toggle('revealed', shown);
  for (const each of all('[data-reveal]', scope ?? document)) {
    each.setAttribute('aria-pressed', String(shown));
    each.textContent = shown ? 'Hide' : 'Reveal';
    each.setAttribute('aria-label', shown ? 'Hide the secret' : 'Reveal the secret');
  }
}

/* tabs ------------------------------------------------------------------------------------------------------------- */

function makeTabs(tabs) {
  const list = tabs.querySelector('[data-tab-list]');
  const links = all('[data-tab]', list);
  const panelOf = (link) => tabs.querySelector(`[data-panel="${link.dataset.tab}"]`);
  const select = (chosen, { focus = false, remember = false } = {}) => {
    for (const link of links) {
      const on = link === chosen;
      link.setAttribute('aria-selected', String(on));
      link.tabIndex = on ? 0 : -1;
      panelOf(link).hidden = !on;
    }
    const over = chosen.offsetLeft + chosen.offsetWidth - list.clientWidth;
    if (over > list.scrollLeft || chosen.offsetLeft < list.scrollLeft) list.scrollLeft = chosen.offsetLeft - 24;
    if (focus) chosen.focus({ preventScroll: true });
    if (remember) try { localStorage.setItem('fanfare-tab', chosen.dataset.tab); } catch { /* not remembered */ }
  };
  list.setAttribute('role', 'tablist');
  for (const link of links) {
    const panel = panelOf(link);
    link.id = `tab-${link.dataset.tab}`;
    link.setAttribute('role', 'tab');
    link.setAttribute('aria-controls', panel.id);
    panel.setAttribute('role', 'tabpanel');
    panel.setAttribute('aria-labelledby', link.id);
    panel.removeAttribute('aria-label');
    link.addEventListener('click', (event) => { event.preventDefault(); select(link, { remember: true }); });
  }
  list.addEventListener('keydown', (event) => {
    const at = links.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    select(links[(to + links.length) % links.length], { focus: true, remember: true });
  });
  let last = location.hash.replace('#snippet-', '');
  if (!links.some((link) => link.dataset.tab === last)) try { last = localStorage.getItem('fanfare-tab'); } catch { last = null; }
  select(links.find((link) => link.dataset.tab === last) ?? links[0]);
  tabs.classList.add('ready');
}

/* usage ------------------------------------------------------------------------------------------------------------ */

const count = (number) => number.toLocaleString('en-US');

function timeUntil(ms) {
  const minutes = Math.max(0, Math.ceil((ms - Date.now()) / 60_000));
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

function level(used, max) {
  if (max === null || max === undefined) return 'ok';
  return used >= max ? 'bad' : used >= max * 0.8 ? 'warn' : 'ok';
}

/** @param {{app: number, connections: number, connections_max: number|null, messages: number, messages_max: number|null, own_cap: boolean, resets_ms: number}} stat */
function showUsage(stat) {
  for (const box of all(`[data-usage="${stat.app}"]`)) {
    const part = (name) => box.querySelector(`[data-part="${name}"]`);
    const set = (name, value) => {
      const element = part(name);
      if (!element) return;
      element.textContent = count(value);
      if (element.dataset.value !== undefined) element.dataset.value = String(value);
    };
    set('connections', stat.connections);
    set('messages', stat.messages);
    const bar = (name, used, max) => {
      const element = part(name);
      if (!element || max === null) return;
      element.max = max;
      element.value = Math.min(used, max);
      element.className = level(used, max);
    };
    bar('connections-bar', stat.connections, stat.connections_max);
    bar('messages-bar', stat.messages, stat.messages_max);
    // Which limit is the nearer one may change at any time: the plan's, or the app's own cap.
    const max = stat.messages_max === null ? '' : count(stat.messages_max);
    if (part('messages-max')) part('messages-max').textContent = max && ` / ${max}`;
    if (part('messages-limit') && max) part('messages-limit').textContent = max;
    if (part('own-cap')) part('own-cap').hidden = !stat.own_cap;
    const resets = all('[data-part="resets"]', box);
    for (const element of resets) element.textContent = timeUntil(stat.resets_ms);
    const dot = box.querySelector('[data-dot]');
    if (dot) dot.className = `dot ${level(stat.connections, stat.connections_max)}`;
  }
}

let fedAt = 0;
document.addEventListener('fanfare:stat', (event) => { fedAt = Date.now(); showUsage(event.detail); });

async function pollUsage() {
  if (document.hidden || Date.now() - fedAt < FED_MS) return;
  try {
    const response = await fetch('/dash/usage', { headers: { Accept: 'application/json' } });
    if (response.ok) for (const stat of (await response.json()).apps) showUsage(stat);
  } catch { /* the server is away: the last numbers stay */ }
}

/* wiring ----------------------------------------------------------------------------------------------------------- */

document.addEventListener('click', (event) => {
  const target = event.target instanceof Element ? event.target : null;
  const hit = (name) => target?.closest(`[data-${name}]`);
  if (hit('theme-toggle')) toggleTheme();
  else if (hit('reveal')) reveal(hit('reveal'));
  else if (target?.closest('[data-copy], [data-copy-text]')) copy(target.closest('[data-copy], [data-copy-text]'));
  for (const menu of all('[data-menu][open]')) if (!menu.contains(target)) menu.open = false;
});
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  for (const menu of all('[data-menu][open]')) { menu.open = false; menu.querySelector('summary').focus(); }
});
document.addEventListener('change', (event) => {
  if (event.target instanceof HTMLInputElement && event.target.hasAttribute('data-autosubmit')) event.target.form.requestSubmit();
});
for (const input of all('[data-confirm]')) {
  const button = input.form.querySelector('[type=submit]');
  const check = () => { button.disabled = input.value.trim() !== input.dataset.confirm; };
  input.addEventListener('input', check);
  check();
}
all('[data-tabs]').forEach(makeTabs);
if (document.querySelector('[data-usage]')) setInterval(pollUsage, USAGE_EVERY_MS);
