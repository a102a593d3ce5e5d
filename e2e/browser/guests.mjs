// Clients in Chromium for stories: pages and Web Workers that hold one client of ../sdk/tour.js each and do as they are told.
import { visitor } from './chromium.mjs';

const near = (file) => new URL(`../sdk/${file}`, import.meta.url);

/** A page that holds a client itself, or asks a worker that does; both answer to `ask(command, …)`. */
export const IN_PAGE = `<!doctype html><meta charset="utf-8"><title>customer</title><script src="/pusher.js"></script><script src="/tour.js"></script><script>
let run;
window.ask = async (command, ...args) => command === 'start' ? void (run = tour(Pusher, ...args)) : run(command, ...args);
</script>`;
export const IN_WORKER = `<!doctype html><meta charset="utf-8"><title>customer</title><script>
const worker = new Worker('/worker.js');
const waiting = new Map();
let asked = 0;
worker.onmessage = ({ data: [id, error, result] }) => { const { resolve, reject } = waiting.get(id); waiting.delete(id); error ? reject(new Error(error)) : resolve(result); };
window.ask = (...command) => new Promise((resolve, reject) => { waiting.set(++asked, { resolve, reject }); worker.postMessage([asked, ...command]); });
</script>`;
const WORKER = `importScripts('/pusher.js', '/tour.js');
let run;
onmessage = ({ data: [id, command, ...args] }) => {
  try {
    if (command === 'start') run = tour(Pusher, ...args);
    postMessage([id, null, command === 'start' ? null : run(command, ...args)]);
  } catch (error) {
    postMessage([id, error.message ?? String(error)]);
  }
};`;

/** What a customer's site serves, so that `guest` can start a client of the build `library` (a file of a package). */
export function siteFiles(place, library) {
  return { '/': { text: place }, '/pusher.js': near(`node_modules/${library}`), '/tour.js': near('tour.js'), '/worker.js': { text: WORKER } };
}

/** Opens the site at `options.origin` in a fresh context, starts a client there, and gives its `run(command, …)`. `context` is for the browser. */
export async function guest(t, browser, options, context = {}) {
  const page = await visitor(t, browser, context);
  await page.goto(`${options.origin}/`);
  const run = (...command) => page.evaluate((words) => window.ask(...words), command);
  await run('start', options);
  return run;
}
