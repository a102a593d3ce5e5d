/**
 * The first minute: waits for a connection that is not ours, shows what the server sees, and can simulate a client.
 * Everything said here was observed: rows of the console, and times measured in this page.
 */
import { byTime, idOf } from './console/store.js';
import { rowElement } from './console/rows.js';
import { visible } from './console/text.js';
import { csrfToken, feedStrip } from './live/page.js';
import { Live } from './live.js';
import { Doctor } from './start/doctor.js';
import { Lights } from './start/lights.js';
import { simulate, SimulationError } from './start/simulation.js';

const ROWS_MAX = 50;
const OWN_MAX = 50;

const root = document.getElementById('start');
const part = (name) => root.querySelector(`[data-part=${name}]`);
const app = { appId: root.dataset.appId, appKey: root.dataset.appKey, csrf: csrfToken() };
const storageKey = `fanfare.simulated.${app.appId}`;

const lights = new Lights(ownSockets(), location.origin);
const doctor = new Doctor(part('doctor'), part('doctor-list'), app);
/** @type {number | null} */ let measured = null;
let waiting = []; // rows for the next frame

/** Sockets of simulations in this browser, so that a reload doesn't take them for the reader's own. */
function ownSockets() {
  try {
    const list = JSON.parse(localStorage.getItem(storageKey) ?? '[]');
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
}

function rememberOwn(socketId) {
  try {
    localStorage.setItem(storageKey, JSON.stringify([...ownSockets(), socketId].slice(-OWN_MAX)));
  } catch {
    // Without storage a reload may light a light that the simulation earned.
  }
}

// ---- rows

function take({ rows }) {
  if (rows.length === 0) return;
  lit(lights.see(rows));
  doctor.see(rows);
  if (waiting.length === 0) requestAnimationFrame(drawRows);
  waiting.push(...rows);
}

function drawRows() {
  const rows = waiting.sort(byTime).slice(-ROWS_MAX);
  waiting = [];
  const box = part('rows');
  const follow = box.scrollTop < 8;
  for (const row of rows) {
    const element = rowElement(row);
    element.classList.add('arriving');
    box.prepend(element);
  }
  while (box.childElementCount > ROWS_MAX) box.lastElementChild.remove();
  if (follow) box.scrollTop = 0;
  part('empty').hidden = true;
}

part('rows').addEventListener('click', (event) => {
  const row = event.target instanceof Element ? event.target.closest('[data-id]') : null;
  if (row && String(getSelection()) === '') location.href = linkTo(row.dataset.id);
});

function linkTo(id) {
  return `/dash/apps/${app.appId}/console#row=${encodeURIComponent(id)}`;
}

// ---- lights and heading

/** @param {import('./start/lights.js').Light[]} names */
function lit(names) {
  for (const name of names) {
    const row = lights.lit[name];
    const light = root.querySelector(`[data-light=${name}]`);
    light.dataset.state = 'on';
    const link = document.createElement('a');
    link.href = linkTo(idOf(row));
    link.textContent = describe(name, row);
    part(`${name}-text`).replaceChildren(link);
  }
  if (names.includes('connected')) doctor.connected();
  if (names.length > 0) drawHeading();
}

function describe(name, row) {
  const library = visible(row.sdk ?? (name === 'published' ? 'the HTTP API' : 'a client'));
  if (name === 'connected') return row.ip ? `${library} from ${visible(row.ip)}` : library;
  if (name === 'subscribed') return visible(row.channel ?? 'a channel');
  return `${visible(row.event ?? 'an event')} by ${library}`;
}

function drawHeading() {
  const heading = part('heading');
  const { connected, published } = lights.lit;
  if (measured !== null) {
    heading.textContent = `It works — your first event arrived in ${measured.toLocaleString()} ms.`;
    heading.dataset.test = 'first-event';
  } else if (published && connected) heading.textContent = 'Your client and your server are both here.';
  else if (connected) heading.textContent = `Connected: ${describe('connected', connected)}.`;
  else if (published) heading.textContent = `First event: ${describe('published', published)}.`;
  part('breath').dataset.state = measured !== null || connected ? 'done' : 'waiting';
  part('next').textContent = next(connected, published);
}

function next(connected, published) {
  if (connected && published) return 'All set. The debug console shows everything from here on.';
  if (connected) return `${measured !== null ? `Connected: ${describe('connected', connected)}. ` : ''}Now send something from your server.`;
  if (published) return 'Your server reaches us. Now connect a client to receive.';
  return 'That was a real socket and a real request. Now your own: take a block from below; this page keeps watching for it.';
}

// ---- simulation

part('simulate').addEventListener('click', async () => {
  const button = part('simulate');
  const problem = part('sim-error');
  button.disabled = true;
  button.textContent = 'Simulating…';
  problem.hidden = true;
  lights.expectOwn();
  try {
    measured = await simulate(app, (socketId) => {
      rememberOwn(socketId);
      lit(lights.own(socketId));
    });
    drawHeading();
  } catch (error) {
    lit(lights.own());
    if (!(error instanceof SimulationError)) throw error;
    problem.textContent = visible(error.message);
    problem.hidden = false;
  } finally {
    button.disabled = false;
    button.textContent = 'Simulate again';
  }
});

doctor.start();
new Live({
  appId: app.appId,
  systemKey: root.dataset.systemKey,
  csrf: app.csrf,
  groups: ['conn', 'sub', 'msg', 'err', 'hook', 'stat'],
  on: {
    batch: take,
    state: (state, text) => {
      part('status').dataset.state = state;
      part('status').textContent = text;
    },
    stat: (stat) => feedStrip(app.appId, stat),
  },
}).start();
