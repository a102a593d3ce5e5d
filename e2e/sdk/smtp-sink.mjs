// A real mail server for stories, as far as a sender sees one: greets, takes the envelope, takes the message, remembers it. It can
// be told to refuse for now (421) or for good (550). It delivers nothing.
import net from 'node:net';

/** Undoes quoted-printable. */
const unquoted = (text) =>
  Buffer.from(
    text.replace(/=\r?\n/g, '').replace(/=([0-9A-F]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString('utf8');

function parsed(envelope, raw) {
  const [head, ...rest] = raw.split('\r\n\r\n');
  const headers = Object.fromEntries(
    head
      .replace(/\r\n[ \t]+/g, ' ')
      .split('\r\n')
      .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  );
  const body = rest.join('\r\n\r\n');
  const encoding = (headers['content-transfer-encoding'] ?? '7bit').toLowerCase();
  const text = encoding === 'quoted-printable' ? unquoted(body) : encoding === 'base64' ? Buffer.from(body, 'base64').toString('utf8') : body;
  return { ...envelope, headers, text: text.replace(/\r\n/g, '\n'), raw };
}

export class SmtpSink {
  mails = [];
  /** Replies to RCPT in place of 250, the first first. */
  refusals = [];
  connections = 0;

  async start(port = 0) {
    this.server = net.createServer((socket) => this.#serve(socket));
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    this.port = this.server.address().port;
    this.url = `smtp://127.0.0.1:${this.port}`;
    return this;
  }

  stop() {
    return new Promise((resolve) => this.server.close(resolve));
  }

  /** The mails to an address, oldest first. */
  to(address) {
    return this.mails.filter((mail) => mail.to.includes(address));
  }

  #serve(socket) {
    this.connections += 1;
    let buffer = '';
    let message; // lines while DATA runs
    let envelope = { from: '', to: [] };
    const say = (line) => socket.write(`${line}\r\n`);
    const line = (text) => {
      if (message) {
        if (text !== '.') return void message.push(text.startsWith('.') ? text.slice(1) : text);
        this.mails.push(parsed(envelope, message.join('\r\n')));
        message = undefined;
        envelope = { from: '', to: [] };
        return say('250 taken');
      }
      const verb = text.split(/[ :]/, 1)[0].toUpperCase();
      const address = /<([^>]*)>/.exec(text)?.[1] ?? '';
      if (verb === 'EHLO') return say('250-sink\r\n250-8BITMIME\r\n250 SIZE 1000000');
      if (verb === 'HELO') return say('250 sink');
      if (verb === 'MAIL') return void ((envelope.from = address), say('250 ok'));
      if (verb === 'RCPT') {
        const refusal = this.refusals.shift();
        if (refusal) return say(refusal);
        envelope.to.push(address);
        return say('250 ok');
      }
      if (verb === 'DATA') return void ((message = []), say('354 go on'));
      if (verb === 'RSET' || verb === 'NOOP') return say('250 ok');
      if (verb === 'QUIT') return void socket.end('221 bye\r\n');
      return say('502 not here');
    };
    socket.setEncoding('utf8');
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      buffer += chunk;
      for (let at = buffer.indexOf('\r\n'); at >= 0; at = buffer.indexOf('\r\n')) {
        const one = buffer.slice(0, at);
        buffer = buffer.slice(at + 2);
        line(one);
      }
    });
    say('220 sink');
  }
}
