// The management API from outside: schemathesis (PyPI) makes requests of every kind out of the document that the server gives, valid
// and not, and holds each answer against it: status, type, form, authorization. Then the exact requests of Pusher's own CLI,
// whose program is built from source only.
import { spawn } from 'node:child_process';
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer, temporaryDirectory } from './harness.mjs';
import { forms, has, ownerOf } from './visitor.mjs';

const SCHEMATHESIS = process.env.FANFARE_E2E_SCHEMATHESIS ?? fileURLToPath(new URL('.venv/bin/st', import.meta.url));
/** The same requests in every run, so that a failure is one for everybody; another number looks elsewhere. */
const SEED = process.env.FANFARE_E2E_SCHEMATHESIS_SEED ?? '20261124';
const SECONDS = Number(process.env.FANFARE_E2E_SCHEMATHESIS_SECONDS ?? 30);

const server = await startServer();
after(() => server.stop());
const app = await server.app({ name: 'fuzzed' });

/** A token with all scopes that the owner's page offers. */
async function token() {
  const owner = await ownerOf(server);
  const page = await owner.page('/dash/tokens');
  const form = forms(page.text).find(has('name', 'scope'));
  const scopes = [...form.html.matchAll(/name="scope" value="([^"]+)"/g)].map(([, scope]) => scope);
  assert.ok(scopes.length > 10, `an owner has all scopes, the page offers ${scopes}`);
  const body = new URLSearchParams([...form.fields.filter(([name]) => name !== 'name'), ['name', 'fuzz'], ...scopes.map((scope) => ['scope', scope])]);
  const answer = await owner.request('POST', form.action, { body, headers: { origin: server.url, 'sec-fetch-site': 'same-origin' } });
  const shown = /data-test="new-token">(ff_[0-9a-f]{64})</.exec(answer.text);
  assert.ok(shown, answer.text.slice(0, 600));
  return shown[1];
}

const bearer = await token();
const ask = (target, { method = 'GET', body, authorization = `Bearer ${bearer}` } = {}) =>
  fetch(server.url + target, { method, body: body && JSON.stringify(body), headers: { authorization, ...(body ? { 'content-type': 'application/json' } : {}) } });

/** The API's document without `Idempotency-Key`, in a file. */
async function documentWithoutKeys() {
  const document = await (await fetch(`${server.url}/v1/openapi.json`)).json();
  for (const operation of Object.values(document.paths).flatMap((item) => Object.values(item)))
    operation.parameters = operation.parameters?.filter(({ name }) => name !== 'Idempotency-Key');
  const file = path.join(temporaryDirectory('document'), 'openapi.json');
  writeFileSync(file, JSON.stringify(document));
  return file;
}

/** Runs schemathesis for some of its phases; how many requests it made. */
async function fuzzed(phases, seconds, config, document = `${server.url}/v1/openapi.json`) {
  const folder = temporaryDirectory('schemathesis');
  writeFileSync(path.join(folder, 'schemathesis.toml'), `${config}
# Addresses of webhooks, origins, e-mails, and how many channels an event may have, follow rules that no schema can say.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 413, 422]
# Under an Idempotency-Key that was used before, a request that is wrong is first of all another one.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, "5xx"]
`);
  const args = ['--config-file', path.join(folder, 'schemathesis.toml'), 'run', document, '--url', server.url, '-H', `Authorization: Bearer ${bearer}`,
    '--checks', 'all', '--phases', phases, '--max-time', String(seconds), '--rate-limit', '19/s', '--continue-on-failure', '--seed', SEED, '--no-color'];
  const child = spawn(SCHEMATHESIS, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH, HOME: folder, COLUMNS: '160' } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { output += text; });
  const code = await new Promise((resolve, reject) => { child.once('error', reject); child.once('exit', resolve); });
  assert.equal(code, 0, output.slice(-12_000));
  return Number(/(\d+) generated/.exec(output)?.[1] ?? 0);
}

const NAME = 'no request that the document can express, and none that it forbids, gets an answer that it does not have';
test(NAME, { timeout: (SECONDS + 60) * 1_000 }, async (t) => {
  const endpoint = await (await ask(`/v1/apps/${app.id}/webhooks`, { method: 'POST', body: { url: 'https://hooks.shop.example/', kinds: ['cache_miss'] } })).json();
  // Ids that exist, or nearly every request would be for nothing; what deletes gets made-up ones, so that these stay.
  const ids = `parameters = { "path.id" = ${app.id}, "path.endpoint" = "${endpoint.id}", "path.key" = "${app.key}" }`;
  const single = await fuzzed('examples,coverage,fuzzing', Math.ceil(SECONDS * 0.7), `[[operations]]\nexclude-method = ["DELETE"]\n${ids}`);
  // Here one answer's ids go into the next request. Without keys: an answer that comes again may name what was deleted since, and
  // schemathesis would miss it.
  const chains = await fuzzed('stateful', Math.floor(SECONDS * 0.3), '', await documentWithoutKeys());
  t.diagnostic(`schemathesis: ${single} single requests, ${chains} in chains`);
  assert.ok(single > 150 && chains > 30, `too few to mean anything: ${single}, ${chains}`);
});

test('the reference page has every operation of the document, and a strict policy', async () => {
  const { paths } = await (await fetch(`${server.url}/v1/openapi.json`)).json();
  const page = await fetch(`${server.url}/docs/api`);
  assert.equal(page.status, 200, 'nobody need be signed in');
  assert.match(page.headers.get('content-security-policy'), /^default-src 'none'; script-src 'self'; style-src 'self'/);
  const text = await page.text();
  const operations = Object.values(paths).flatMap((item) => Object.values(item));
  assert.ok(operations.length > 30);
  for (const { operationId } of operations) assert.ok(text.includes(`id="${operationId}"`), operationId);
  assert.equal(text.match(/data-test="operation"/g).length, operations.length);
});

// api/shared.go, api/app.go, api/token.go of pusher/cli: `endpoint` of ~/.config/pusher.json, then these addresses.
test("Pusher's own CLI lists apps and shows their credentials", async () => {
  const cli = (target, token) => fetch(`${server.url}/cli${target}`, {
    headers: { 'content-type': 'application/json', authorization: `Token token=${token}`, 'user-agent': 'PusherCLI/v0.15', accept: 'application/json' },
  });
  const app = await server.app({ name: 'of the program' });
  const apps = await (await cli('/apps.json', bearer)).json();
  const found = apps.find(({ id }) => String(id) === String(app.id));
  assert.deepEqual(Object.keys(found).sort(), ['cluster', 'id', 'name']);
  const tokens = await (await cli(`/apps/${app.id}/tokens.json`, bearer)).json();
  assert.deepEqual(tokens, [{ key: app.key, secret: app.secret }]);
  assert.equal((await cli('/apps.json', 'typo')).status, 401, 'it says “Your API key isn’t valid”');
  assert.equal((await cli('/apps/999999/tokens.json', bearer)).status, 404);
});
