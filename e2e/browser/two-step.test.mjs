// Two-step sign-in as a person meets it: set up by scanning (here: by reading the key), asked for at the next sign-in, a lost
// phone, and the operator's help.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after } from 'node:test';
import { commandOk, startServer, story } from '../sdk/harness.mjs';
import { totp } from '../sdk/totp.mjs';
import { PASSWORD, launch, signUp, visitor } from './chromium.mjs';

const server = await startServer();
after(() => server.stop());
const browser = await launch();

async function setUp(page) {
  await page.goto(`${server.url}/dash/account`);
  await page.click('[data-test=two-step]');
  await page.click('[data-test=begin]');
  await page.waitForSelector('[data-test=factor-begun]');
  const secret = (await page.textContent('[data-test=factor-secret]')).replaceAll(' ', '');
  const address = new URL(await page.getAttribute('[data-test=otpauth]', 'href'));
  assert.equal(address.searchParams.get('secret'), secret);
  return secret;
}

async function password(page, email) {
  await page.goto(`${server.url}/login`);
  await page.fill('[name=email]', email);
  await page.fill('[name=password]', PASSWORD);
  await page.press('[name=password]', 'Enter');
}

story('a person sets it up, signs in with a code, and with a recovery code when the phone is lost', async (t) => {
  const email = 'ana@example.test';
  const desk = await visitor(t, browser);
  await signUp(desk, server, email);
  const secret = await setUp(desk);
  const picture = await desk.locator('svg.qr').boundingBox();
  assert.ok(picture.width > 150 && Math.abs(picture.width - picture.height) < 1, 'there is something to scan');
  await desk.fill('[name=code]', '000000');
  await desk.click('[data-test=confirm]');
  await desk.waitForSelector('.note.bad');
  assert.equal((await desk.textContent('[data-test=factor-secret]')).replaceAll(' ', ''), secret, 'the same key, so nothing has to be scanned again');
  await desk.fill('[name=code]', totp(secret, -1));
  await desk.click('[data-test=confirm]');
  const codes = (await desk.textContent('[data-test=recovery-codes]')).trim().split('\n');
  assert.equal(codes.length, 10);
  const [download] = await Promise.all([desk.waitForEvent('download'), desk.click('[data-test=download]')]);
  assert.equal(download.suggestedFilename(), 'fanfare-recovery-codes.txt');
  assert.ok(readFileSync(await download.path(), 'utf8').includes(codes.join('\n')));
  await desk.click('[data-test=kept]');
  await desk.waitForURL(/\/dash/);

  const phone = await visitor(t, browser, { viewport: { width: 390, height: 800 } });
  await password(phone, email);
  await phone.waitForURL(/\/login\/code/);
  assert.equal(await phone.evaluate(() => document.activeElement.id), 'code');
  assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), true);
  await phone.fill('#code', totp(secret).replace(/^.../, '$& '));
  await phone.press('#code', 'Enter');
  await phone.waitForURL(/\/dash/);

  const lost = await visitor(t, browser);
  await password(lost, email);
  await lost.waitForURL(/\/login\/code/);
  await lost.goto(`${server.url}/dash`);
  assert.match(lost.url(), /\/login/, 'nothing is open before the code');
  await lost.goto(`${server.url}/login/code`);
  await lost.click('summary');
  await lost.fill('#recovery', codes[4]);
  await lost.press('#recovery', 'Enter');
  await lost.waitForURL(/\/dash/);
  await lost.goto(`${server.url}/dash/account/two-step`);
  assert.match(await lost.textContent('[data-test=factor-on]'), /9 recovery codes are left/);
  await lost.fill('#off-code', codes[4]);
  await lost.click('text=Turn off');
  await lost.waitForSelector('.note.bad');
  await lost.fill('#off-code', codes[5]);
  await lost.click('text=Turn off');
  await lost.waitForURL(/done=two-step-off/);
  const own = (text) => !/status of 4(22|01) /.test(text);
  assert.deepEqual([...desk.complaints, ...phone.complaints, ...lost.complaints].filter(own), []);
});

story('who lost phone and codes is helped by the operator, and signed out everywhere', async (t) => {
  const email = 'ben@example.test';
  const page = await visitor(t, browser);
  await signUp(page, server, email);
  const secret = await setUp(page);
  await page.fill('[name=code]', totp(secret));
  await page.click('[data-test=confirm]');
  await page.waitForSelector('[data-test=recovery-codes]');
  const { stdout } = await commandOk(['admin', 'reset-2fa', '--email', email], { dataDir: server.dataDir });
  assert.match(stdout, /ben@example.test signs in with the password alone now/);
  await page.goto(`${server.url}/dash`);
  assert.match(page.url(), /\/login/);
  await password(page, email);
  await page.waitForURL(/\/dash/);
  await page.goto(`${server.url}/dash/audit`);
  assert.match(await page.textContent('main'), /fanfare admin reset-2fa/);
});

story('an organisation that requires it lets a member in once they have it', async (t) => {
  const boss = await visitor(t, browser);
  await signUp(boss, server, 'boss@example.test');
  await boss.goto(`${server.url}/dash/organisation`);
  await boss.click('[data-test=require]');
  await boss.waitForSelector('#two-step .error');
  const secret = await setUp(boss);
  await boss.fill('[name=code]', totp(secret));
  await boss.click('[data-test=confirm]');
  await boss.waitForSelector('[data-test=recovery-codes]');
  await boss.goto(`${server.url}/dash/people`);
  await boss.fill('#email', 'new@example.test');
  await boss.click('text=Make link');
  const link = await boss.textContent('[data-test=invite-link]');
  await boss.goto(`${server.url}/dash/organisation`);
  await boss.click('[data-test=require]');
  await boss.waitForURL(/done=required/);

  const member = await visitor(t, browser);
  await member.goto(link.trim());
  await member.fill('[name=password]', PASSWORD);
  await member.press('[name=password]', 'Enter');
  await member.waitForURL(/\/dash\/account\/two-step/);
  assert.match(await member.textContent('[data-test=locked]'), /boss's workspace requires two-step sign-in/);
  const own = await setUp(member);
  await member.fill('[name=code]', totp(own));
  await member.click('[data-test=confirm]');
  await member.click('[data-test=kept]');
  await member.waitForURL(/\/dash$/);
  assert.match(await member.textContent('.crumbs'), /boss's workspace/);
});
