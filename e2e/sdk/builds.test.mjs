// pusher-js 8 in Node: the whole protocol through its build for Node, which can decrypt by itself.
import { after } from 'node:test';
import Pusher from 'pusher-js';
import './tour.js';
import { startServer } from './harness.mjs';
import { TOURED, tour } from './tour.mjs';

const server = await startServer();
after(() => server.stop());
const app = await server.app(TOURED);

tour('pusher-js for Node', {
  server,
  app,
  encrypted: true,
  open(t, options) {
    const run = globalThis.tour(Pusher, options);
    t.after(() => run('disconnect'));
    return async (...command) => run(...command);
  },
});
