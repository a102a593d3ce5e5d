/**
 * Sends one real event: the dashboard signs it (the secret never reaches this page), the page itself calls the public
 * HTTP API with it, exactly as a server library would.
 */

import { socketsAt } from '../live/connection.js';

/** @typedef {{ok: boolean, status: number, text: string, ms: number, sentAt: number}} Answer `text`: the body of the API, verbatim; `sentAt`: by performance.now() */

/**
 * @param {{appId: string, csrf: string}} app
 * @param {{channel: string, event: string, data: string, socket_id?: string}} message
 * @returns {Promise<Answer>} never rejects: a network failure is an answer with status 0
 */
export async function publish(app, message) {
  const started = performance.now();
  const elapsed = () => Math.round(performance.now() - started);
  try {
    const signing = await fetch(`/dash/apps/${encodeURIComponent(app.appId)}/events/sign`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': app.csrf },
      body: JSON.stringify(message),
    });
    if (!signing.ok) return { ok: false, status: signing.status, text: await reason(signing), ms: elapsed(), sentAt: started };
    const { url, body } = await signing.json();
    const sent = performance.now();
    const answer = await fetch(`${socketsAt().origin}${url}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Pusher-Library': 'fanfare-dashboard 1.0' },
      body,
      credentials: 'omit',
    });
    const text = await answer.text();
    return { ok: answer.ok, status: answer.status, text, ms: Math.round(performance.now() - sent), sentAt: sent };
  } catch (error) {
    return { ok: false, status: 0, text: error instanceof Error ? error.message : 'The request failed.', ms: elapsed(), sentAt: started };
  }
}

/** The sentence of an error answer of the dashboard. @param {Response} response */
async function reason(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error.message ?? text;
  } catch {
    return `HTTP ${response.status}`;
  }
}
