// Signing in with GitHub as a person meets it: through the provider's page in a real browser, with our policy on forms in force.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { startServer, story } from '../sdk/harness.mjs';
import { provider } from '../sdk/oauth-like.mjs';
import { launch, signUp, visitor } from './chromium.mjs';

const elsewhere = await provider();
after(() => elsewhere.end());
const server = await startServer({ env: elsewhere.env });
after(() => server.stop());
const browser = await launch();

story('somebody signs up with GitHub, comes back with it, and says no once', async (t) => {
  elsewhere.person = { id: 1, email: 'ana@example.test' };
  const page = await visitor(t, browser);
  await page.goto(`${server.url}/login`);
  await page.click('[data-test=with-github]');
  await page.waitForURL(`${elsewhere.url}/**`);
  await page.click('#no');
  await page.waitForSelector('[data-test=with-problem]');
  await page.click('text=Other ways to sign in');
  await page.click('[data-test=with-github]');
  await page.click('#yes');
  await page.waitForURL(/\/dash\/apps\/new$/);
  await page.goto(`${server.url}/dash/account`);
  assert.equal(await page.locator('[name=present]').count(), 0, 'there is no password to change');
  assert.match(await page.textContent('#with'), /GitHub\s*ana@example\.test/);
  const complaints = page.complaints.filter((text) => !/status of 403 /.test(text));
  assert.deepEqual(complaints, []);

  const phone = await visitor(t, browser, { viewport: { width: 390, height: 800 } });
  await phone.goto(`${server.url}/dash/people`);
  await phone.click('[data-test=with-github]');
  await phone.click('#yes');
  await phone.waitForURL(/\/dash\/people$/);
});

story('who has a password links Google on the account’s page', async (t) => {
  elsewhere.person = { id: 2, email: 'ben@example.test' };
  const page = await visitor(t, browser);
  await signUp(page, server, 'ben@example.test');
  await page.goto(`${server.url}/dash/account`);
  await page.click('[data-test=way-google]');
  await page.click('#yes');
  await page.waitForURL(/done=linked/);
  assert.match(await page.textContent('[role=status].note'), /Linked/);
  await page.click('[data-test=way-google]');
  await page.waitForURL(/done=unlinked/);
  assert.deepEqual(page.complaints, []);
});
