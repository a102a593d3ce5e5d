// A client of pusher-js' HTTP fallbacks made of requests: it shows every line that comes back and can do what no library
// would. And a proxy that counts requests, for what an official client does by itself.
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { constants, createGunzip } from 'node:zlib';
import { until } from './harness.mjs';

const QUERY = 'protocol=7&client=js&version=8.6.0';
const sessionName = () => `${Math.floor(Math.random() * 1_000)}/${[...randomBytes(8)].map((byte) => (byte % 32).toString(32)).join('')}`;

const by = (server) => (server.tls ? https : http);

/** One request to its end: `{ status, headers, text }`. A server with `tls` is asked over it. */
export function call(server, method, path, { body, headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const request = by(server).request({ host: server.host, port: server.port, method, path, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.setTimeout(35_000, () => request.destroy(new Error(`no answer to ${method} ${path}`)));
    request.end(body);
  });
}

export class HttpSession {
  /** `base` is `/pusher/app/KEY`, or `/pusher` for SockJS. */
  constructor(t, server, base, { query = QUERY, headers = {}, name = sessionName() } = {}) {
    Object.assign(this, { t, server, base: `${base}/${name}`, query, headers, lines: [], ended: false });
  }

  static of(t, server, app, options) {
    return new HttpSession(t, server, `/pusher/app/${app.key}`, options);
  }

  /** Opens a stream; its lines gather in `lines`, `ended` tells when it is over. */
  async stream() {
    const stream = { lines: [], ended: false };
    await new Promise((resolve, reject) => {
      const path = `${this.base}/xhr_streaming?${this.query}`;
      const request = by(this.server).request({ host: this.server.host, port: this.server.port, method: 'POST', path, headers: this.headers, agent: false }, (response) => {
        stream.status = response.statusCode;
        stream.headers = response.headers;
        let rest = '';
        const zipped = response.headers['content-encoding'] === 'gzip';
        const plain = zipped ? response.pipe(createGunzip({ flush: constants.Z_SYNC_FLUSH })) : response;
        plain.setEncoding('utf8').on('data', (chunk) => {
          const lines = (rest + chunk).split('\n');
          rest = lines.pop();
          stream.lines.push(...lines);
          this.lines.push(...lines);
        });
        const over = () => {
          stream.ended = true;
        };
        response.on('end', over).on('error', over).on('close', over);
        resolve();
      });
      request.on('error', reject);
      request.end();
      stream.abort = () => request.destroy();
      this.t.after(() => request.destroy());
    });
    return stream;
  }

  /** One poll; its lines are kept too. */
  async poll() {
    const answer = await call(this.server, 'POST', `${this.base}/xhr?${this.query}`, { headers: this.headers });
    const lines = answer.text.split('\n').slice(0, -1);
    this.lines.push(...lines);
    return { ...answer, lines };
  }

  /** Sends messages, each an object or a text; gives the status. */
  async send(...messages) {
    const body = JSON.stringify(messages.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))));
    return this.sendBody(body);
  }

  async sendBody(body) {
    return (await call(this.server, 'POST', `${this.base}/xhr_send`, { body, headers: { 'content-type': 'application/json', ...this.headers } })).status;
  }

  /** All frames so far. */
  get frames() {
    return this.lines.filter((line) => line.startsWith('a')).flatMap((line) => JSON.parse(line.slice(1))).map((text) => JSON.parse(text));
  }

  /** The close line, once it is there. */
  get closed() {
    const line = this.lines.find((one) => one.startsWith('c'));
    return line && JSON.parse(line.slice(1));
  }

  async frame(event, deadlineMs) {
    return until(() => this.frames.find((frame) => frame.event === event), () => `${event}, seen ${JSON.stringify(this.lines)}`, deadlineMs);
  }

  async line(wanted, deadlineMs) {
    return until(() => this.lines.find((one) => one.startsWith(wanted)), () => `a line ${wanted}, seen ${JSON.stringify(this.lines)}`, deadlineMs);
  }
}

/** A proxy in front of `server` that remembers what was asked; it passes bytes on as they come. */
export async function counting(t, server) {
  const asked = [];
  const proxy = http.createServer((request, response) => {
    asked.push({ method: request.method, path: request.url.split('?')[0], at: Date.now() });
    const onward = http.request({ host: server.host, port: server.port, method: request.method, path: request.url, headers: request.headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      response.flushHeaders();
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  const of = (end) => asked.filter((one) => one.path.endsWith(end));
  return { asked, of, port: proxy.address().port };
}
