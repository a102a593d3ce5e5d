// docs/PROTOCOL.md and docs/OPERATIONS.md quote the tests that prove them: each quoted name must be the name of a test in the file named
// before it. Alerts are those of alerts.yml.
// And the pages of errors that it links to must be there.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { startServer, story } from './harness.mjs';

const ROOT = new URL('../../', import.meta.url);
const read = (path) => readFileSync(new URL(path, ROOT), 'utf8');
const literal = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** Whether the source of a test file has a test of that name; what a template puts in stands for any text. */
function hasTest(path, name) {
  const source = read(path);
  if (path.endsWith('.rs')) return new RegExp(`#\\[(?:tokio::)?test\\b[^\\]]*\\]\\s*(?:#\\[[^\\]]*\\]\\s*)*(?:async )?fn ${literal(name)}\\(`).test(source);
  const titles = [...source.matchAll(/\b(?:story|test)\(\s*(?:'((?:\\.|[^'\\])*)'|`((?:\\.|[^`\\])*)`)/g)].map(([, plain, template]) => plain ?? template);
  return titles.some((title) => new RegExp(`^${title.split(/\$\{[^}]*\}/).map(literal).join('.*')}$`, 's').test(name));
}

/** `[{ path, name }]` of all quoted tests of a document. */
function quoted(document) {
  const found = [];
  let path;
  for (const [, file, name] of document.matchAll(/`([\w./-]+\.(?:mjs|rs))`|“([^”]+)”/g)) {
    if (file) path = file.endsWith('.rs') ? file : `e2e/${file}`;
    else found.push({ path, name });
  }
  return found;
}

for (const [document, least] of [['docs/PROTOCOL.md', 50], ['docs/OPERATIONS.md', 25]]) test(`every test that ${document} names exists`, () => {
  const all = quoted(read(document));
  assert.ok(all.length > least, `only ${all.length} tests are named`);
  const missing = all.filter(({ path, name }) => !existsSync(new URL(path, ROOT)) || !hasTest(path, name));
  assert.deepEqual(missing, []);
});

test('every alert that docs/OPERATIONS.md names is one, and all of them are named', () => {
  const named = new Set(read('docs/OPERATIONS.md').match(/\bFanfare[A-Z]\w+/g));
  const alerts = new Set([...read('deploy/prometheus/alerts.yml').matchAll(/- alert: (\w+)/g)].map(([, name]) => name));
  assert.deepEqual([...named].sort(), [...alerts].sort());
});

test('a name that is no test would be noticed', () => {
  assert.equal(hasTest('e2e/sdk/frames.test.mjs', 'no such story'), false);
  assert.equal(hasTest('protocol/src/signature.rs', 'no_such_test'), false);
  assert.equal(hasTest('e2e/sdk/tour.mjs', 'any build at all: subscribers are told how many they are'), true);
});

story('every page of an error that docs/PROTOCOL.md links to is there, and says the code', async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const links = [...new Set([...read('docs/PROTOCOL.md').matchAll(/\]\((\/e\/\w+)\)/g)].map(([, link]) => link))];
  assert.ok(links.length >= 14, links.join());
  for (const link of links) {
    const answer = await fetch(`${server.url}${link}`);
    assert.equal(answer.status, 200, link);
    assert.ok((await answer.text()).includes(link.split('/').at(-1)), link);
  }
});
