// The builds of pusher-js 8 for browsers, each where it belongs: in a page, and in a Web Worker, of real Chromium. The
// stories themselves are in ../sdk/tour.mjs.
import { after } from 'node:test';
import { startServer } from '../sdk/harness.mjs';
import { TOURED, tour } from '../sdk/tour.mjs';
import { launch } from './chromium.mjs';
import { IN_PAGE, IN_WORKER, guest, siteFiles } from './guests.mjs';

const server = await startServer();
after(() => server.stop());
const app = await server.app(TOURED);
const browser = await launch();

for (const [build, file, place, encrypted] of [
  ['pusher-js for the web', 'web/pusher.min.js', IN_PAGE, false],
  ['pusher-js for the web with encryption', 'web/pusher-with-encryption.min.js', IN_PAGE, true],
  ['pusher-js for workers', 'worker/pusher.worker.min.js', IN_WORKER, false],
  ['pusher-js for workers with encryption', 'worker/pusher-with-encryption.worker.min.js', IN_WORKER, true],
]) {
  tour(build, { server, app, encrypted, files: siteFiles(place, `pusher-js/dist/${file}`), open: (t, options) => guest(t, browser, options) });
}
