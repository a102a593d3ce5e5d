// The account page as a person meets it: two browsers, one of them lost. It is found in the list and signed out, the password
// is changed, and whoever was still in is out.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { startServer, story } from '../sdk/harness.mjs';
import { PASSWORD, launch, signIn, signUp, visitor } from './chromium.mjs';

const server = await startServer();
after(() => server.stop());
const browser = await launch();

const PHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1';
const NEW_PASSWORD = 'a-quieter-harbour-52';
const email = 'ana@example.test';
const person = { email, password: PASSWORD };

const sessions = (page) => page.locator('[data-test=session]');
/** Whether the page of the account is still open to this browser. */
async function isIn(page) {
  await page.goto(`${server.url}/dash/account`);
  return new URL(page.url()).pathname === '/dash/account';
}

story('a person signs a lost phone out, changes the password, and stays signed in', async (t) => {
  const desk = await visitor(t, browser);
  await signUp(desk, server, email);
  const phone = await visitor(t, browser, { userAgent: PHONE });
  await signIn(phone, server, person);

  await desk.goto(`${server.url}/dash`);
  await desk.click('[aria-label="Your account"]');
  await desk.getByRole('link', { name: 'Account', exact: true }).click();
  await desk.waitForURL(/\/dash\/account$/);
  assert.equal(await sessions(desk).count(), 2);
  const lost = sessions(desk).filter({ hasText: 'Safari on iPhone' });
  const own = sessions(desk).filter({ has: desk.locator('[data-test=this-session]') });
  assert.match(await own.innerText(), /Chrome on Linux\s+this one\s+127\.0\.0\.x/);
  assert.equal(await own.getByRole('button').count(), 0, 'this one is signed out by the menu');
  await lost.getByRole('button', { name: /^Sign out Safari on iPhone/ }).click();
  await desk.waitForURL(/done=session/);
  assert.equal(await desk.textContent('[role=status].note'), 'That session is signed out.');
  assert.equal(await sessions(desk).count(), 1);
  assert.equal(await isIn(phone), false);

  await signIn(phone, server, person);
  await desk.goto(`${server.url}/dash/account`);
  await desk.fill('[name=present]', 'not-the-password');
  await desk.fill('[name=new]', NEW_PASSWORD);
  await desk.click('text=Change password');
  await desk.waitForSelector('#present-error');
  assert.equal(await desk.evaluate(() => document.activeElement.id), 'present', 'the field to mend has the focus');
  assert.equal(await isIn(phone), true, 'nothing was changed');
  await desk.fill('[name=present]', PASSWORD);
  await desk.fill('[name=new]', NEW_PASSWORD);
  await desk.press('[name=new]', 'Enter');
  await desk.waitForURL(/done=password/);
  assert.equal(await isIn(desk), true);
  assert.equal(await isIn(phone), false);
  await signIn(phone, server, { email, password: NEW_PASSWORD });

  await desk.goto(`${server.url}/dash/account`);
  await desk.click('[data-test=end-others]');
  await desk.waitForURL(/done=others/);
  assert.equal(await isIn(phone), false);
  const own422 = desk.complaints.filter((text) => !/status of 422 .*\/dash\/account\/password\)$/.test(text));
  assert.deepEqual([...own422, ...phone.complaints], []);
});
