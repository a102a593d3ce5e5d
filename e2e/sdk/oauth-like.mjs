// A provider of sign-ins for stories: an OAuth 2 server with GitHub's and Google's addresses, on this machine. It checks what a
// provider checks (client, redirect URI, PKCE, each code once) and says no as they do. Who says yes on its page is `person`.
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';

export const CLIENT = { id: 'client-of-fanfare', secret: 'hush-of-fanfare' };

/** Starts it and gives `{ url, person, grants, mode, end }`. `mode` may be set to `down` (no answer worth having). */
export async function provider() {
  const state = { person: null, mode: 'up', grants: [], asked: [] };
  const codes = new Map();
  const tokens = new Map();
  const json = (response, status, body) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

  /** The page where people say yes or no; the redirect URI must be the one that was registered. */
  function authorize(url, response) {
    const asked = Object.fromEntries(url.searchParams);
    state.asked.push(asked);
    const known = asked.client_id === CLIENT.id && asked.response_type === 'code' && /\/login\/with\/(github|google)\/callback$/.test(asked.redirect_uri ?? '');
    if (!known || asked.code_challenge_method !== 'S256' || !/^[\w-]{43}$/.test(asked.code_challenge ?? '')) return response.writeHead(400).end('no such client');
    const code = randomBytes(16).toString('hex');
    codes.set(code, { ...asked, person: state.person });
    const back = (params) => {
      const target = new URL(asked.redirect_uri);
      for (const [name, value] of Object.entries({ ...params, state: asked.state })) target.searchParams.set(name, value);
      return target.href.replaceAll('&', '&amp;');
    };
    const page = `<!doctype html><link rel="icon" href="data:,"><title>Provider</title><h1>Let Fanfare know who you are?</h1><a id="yes" href="${back({ code })}">Yes</a> <a id="no" href="${back({ error: 'access_denied' })}">No</a>`;
    return response.writeHead(200, { 'content-type': 'text/html' }).end(page);
  }

  /** A code for a token: once, by the client that it was given to, with the verifier of its challenge. */
  function token(form, response, github) {
    const grant = codes.get(form.get('code'));
    codes.delete(form.get('code'));
    const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
    const good =
      grant && form.get('grant_type') === 'authorization_code' && form.get('client_id') === CLIENT.id && form.get('client_secret') === CLIENT.secret &&
      form.get('redirect_uri') === grant.redirect_uri && challenge === grant.code_challenge;
    state.grants.push(Boolean(good));
    if (!good) return json(response, github ? 200 : 400, { error: github ? 'bad_verification_code' : 'invalid_grant' });
    const access = randomBytes(16).toString('hex');
    tokens.set(access, grant.person);
    return json(response, 200, { access_token: access, token_type: 'bearer' });
  }

  const server = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://provider');
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      if (url.pathname.endsWith('/authorize') || url.pathname === '/o/oauth2/v2/auth') return authorize(url, response);
      if (state.mode === 'down') return response.writeHead(503).end();
      if (request.method === 'POST' && url.pathname === '/login/oauth/access_token') return token(new URLSearchParams(body), response, true);
      if (request.method === 'POST' && url.pathname === '/token') return token(new URLSearchParams(body), response, false);
      const person = tokens.get((request.headers.authorization ?? '').replace(/^Bearer /, ''));
      if (!person || !request.headers['user-agent']) return json(response, 401, { message: 'Bad credentials' });
      const { id, email, verified = true } = person;
      if (url.pathname === '/api/v3/user') return json(response, 200, { id, login: 'somebody', email: null });
      if (url.pathname === '/api/v3/user/emails') return json(response, 200, [{ email: 'other@elsewhere.test', primary: false, verified: true }, { email, primary: true, verified }]);
      if (url.pathname === '/v1/userinfo') return json(response, 200, { sub: String(id), email, email_verified: verified });
      return response.writeHead(404).end();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  /** The settings of a server that knows this provider under both names. */
  const env = {};
  for (const name of ['GITHUB', 'GOOGLE']) {
    env[`FANFARE_${name}_CLIENT_ID`] = CLIENT.id;
    env[`FANFARE_${name}_CLIENT_SECRET`] = CLIENT.secret;
    env[`FANFARE_${name}_BASE_URL`] = url;
  }
  const end = () => {
    server.closeAllConnections();
    server.close();
  };
  return Object.assign(state, { url, env, end });
}
