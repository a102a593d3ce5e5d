/**
 * "Simulate it": a real client and a real publish. Opens a socket with the app's own key, subscribes, has an event signed,
 * posts it to the public HTTP API and waits until it comes in on that socket. Nothing is pretended, the time is measured.
 */
import { publish } from '../console/publish.js';
import { pusherOptions } from '../live/connection.js';

export const CHANNEL = 'hello';
export const EVENT = 'first-event';
/** For each of the three steps. */
const STEP_MS = 10_000;
/** The client stays a moment, so that its rows can be read in order. */
const STAY_MS = 5000;

/** What a step came to; the sentence is for the reader. */
export class SimulationError extends Error {}

/**
 * @param {{appId: string, appKey: string, csrf: string}} app
 * @param {(socketId: string) => void} connected told before anything else can be seen of this socket
 * @returns {Promise<number>} milliseconds from sending the request to the event's arrival
 */
export async function simulate(app, connected) {
  const Pusher = globalThis.Pusher;
  if (typeof Pusher !== 'function') throw new SimulationError('The client library did not load. Reload the page.');
  const pusher = new Pusher(app.appKey, pusherOptions(app.csrf));
  try {
    connected(await socket(pusher));
    const channel = pusher.subscribe(CHANNEL);
    await step('The subscription was not confirmed.', (resolve, reject) => {
      channel.bind('pusher:subscription_succeeded', resolve);
      channel.bind('pusher:subscription_error', (error) => reject(new SimulationError(`The subscription was refused: ${error?.error ?? error?.status ?? 'no reason given'}`)));
    });
    return await roundTrip(app, channel);
  } finally {
    setTimeout(() => pusher.disconnect(), STAY_MS);
  }
}

function socket(pusher) {
  return step('The WebSocket did not open. A proxy in between may not pass upgrades.', (resolve, reject) => {
    pusher.connection.bind('connected', () => resolve(pusher.connection.socket_id));
    pusher.connection.bind('error', (error) => {
      const { code, message } = error?.error?.data ?? error?.data ?? {};
      if (code) reject(new SimulationError(`The connection was refused: ${code} · ${message ?? ''}`));
    });
  });
}

/** @returns {Promise<number>} */
async function roundTrip(app, channel) {
  const run = crypto.getRandomValues(new Uint32Array(1))[0].toString(16);
  let arrivedAt = 0;
  const arrival = step('The API accepted the event, but it did not arrive on the socket.', (resolve) => {
    channel.bind(EVENT, (data) => {
      if (data?.run !== run || arrivedAt !== 0) return;
      arrivedAt = performance.now();
      resolve(undefined);
    });
  });
  const sending = publish(app, { channel: CHANNEL, event: EVENT, data: JSON.stringify({ message: 'Hello from Fanfare', run }) });
  const answer = await sending;
  if (!answer.ok) {
    arrival.catch(() => {}); // it will time out; the refusal is what matters
    throw new SimulationError(`The API refused the event: ${answer.status || 'no answer'} · ${answer.text.trim()}`);
  }
  await arrival;
  return Math.max(1, Math.round(arrivedAt - answer.sentAt));
}

/** A promise with a deadline and a sentence for it. */
function step(sentence, start) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new SimulationError(sentence)), STEP_MS);
    const settle = (done) => (value) => {
      clearTimeout(timer);
      done(value);
    };
    start(settle(resolve), settle(reject));
  });
}
