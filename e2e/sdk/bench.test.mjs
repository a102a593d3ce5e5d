// The load tool against a real server: every scenario, small. It checks what it receives itself; this story checks that it
// says what it did, ends by itself, and notices when something is wrong.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { binary, command, freePort, sleep, startServer, story, temporaryDirectory } from './harness.mjs';

/** An app out of the settings has no limit on client events, as a measurement needs it. */
const LOUD = { id: '900001', key: 'bench-key', secret: 'bench-secret' };
const SETTINGS = { FANFARE_APP_ID: LOUD.id, FANFARE_APP_KEY: LOUD.key, FANFARE_APP_SECRET: LOUD.secret };

const server = await startServer({ env: SETTINGS });
after(() => server.stop());

const target = ({ port = server.port, app = LOUD } = {}) => ['--url', `ws://127.0.0.1:${port}`, '--app-id', app.id, '--key', app.key, '--secret', app.secret];

/** Runs a scenario and gives its JSON, which must say that all is right. */
async function bench(scenario, ...args) {
  const { code, stdout, stderr } = await command(['bench', scenario, ...target(), '--server-pid', String(server.pid), '--json', ...args]);
  assert.equal(code, 0, stdout + stderr);
  const lines = stdout.trim().split('\n');
  assert.equal(lines.length, 1, stdout);
  const result = JSON.parse(lines[0]);
  assert.equal(result.ok, true, stdout);
  assert.equal(result.scenario, scenario);
  assert.ok(result.machine.cores >= 1 && result.machine.kernel, stdout);
  assert.doesNotMatch(stdout, new RegExp(LOUD.secret), 'the secret stays out of results');
  assert.deepEqual(Object.entries(result.faults).filter(([, times]) => times > 0), []);
  return result;
}

const positive = (results, ...keys) => {
  for (const key of keys) assert.ok(results[key] > 0, `${key} is ${results[key]}`);
};

story('fanout: 20 subscribers get everything, one publish on its way', async () => {
  const { results, parameters, commit, label } = await bench('fanout', '-n', '20', '--secs', '1', '--warmup', '0.2', '--label', 'small', '--commit', 'abc123');
  positive(results, 'deliveries_per_s', 'publishes_per_s', 'latency_p50_us', 'latency_p99_us', 'complete_p50_us', 'api_p50_us', 'server_cpu_us_per_delivery', 'server_memory_mib', 'generator_cores');
  assert.ok(Math.abs(results.deliveries_per_s / results.publishes_per_s - 20) < 1);
  assert.equal(parameters.n, 20);
  assert.equal(parameters.window, 1);
  assert.deepEqual([commit, label], ['abc123', 'small']);
});

story('fanout: several channels and publishers, many publishes on their way; and paced', async () => {
  positive((await bench('fanout', '-n', '20', '--channels', '4', '-p', '4', '-w', '8', '--size', '2000', '--secs', '1', '--warmup', '0.2')).results, 'deliveries_per_s');
  const { results } = await bench('fanout', '-n', '20', '--rate', '100', '--secs', '1', '--warmup', '0.2');
  assert.ok(results.publishes_per_s > 70 && results.publishes_per_s < 130, `${results.publishes_per_s} publishes a second`);
});

story('publish: single events and batches', async () => {
  positive((await bench('publish', '-p', '4', '--secs', '1', '--warmup', '0.2')).results, 'requests_per_s', 'api_p99_us', 'server_cpu_us_per_request');
  const { results } = await bench('publish', '-p', '4', '--batch', '10', '--secs', '1', '--warmup', '0.2');
  assert.ok(Math.abs(results.events_per_s / results.requests_per_s - 10) < 0.1);
});

story('idle: memory at two counts', async () => {
  const { results } = await bench('idle', '-n', '20,60', '--settle', '0.1', '--secs', '1');
  assert.equal(results.connections, 60);
  const shared = (await bench('idle', '-n', '20', '--channels', '3', '--settle', '0.1', '--secs', '1')).results;
  positive(shared, 'broadcast_s');
  assert.equal(typeof shared.after_churn_bytes_per_connection, 'number');
  for (const key of ['at_20_idle_bytes_per_connection', 'at_60_subscribed_bytes_per_connection', 'memory_after_all_left_mib']) assert.equal(typeof results[key], 'number', key);
});

story('presence: 20 join, each sees everyone; half of them leave', async () => {
  const { results } = await bench('presence', '-n', '20', '--limit', '10');
  positive(results, 'join_s', 'leave_s', 'leave_frames');
  assert.equal(results.leave_frames, 100, 'ten that stay see ten leave');
});

story('churn: clients come and go', async () => {
  positive((await bench('churn', '-n', '20', '--secs', '1', '--warmup', '0.2')).results, 'cycles_per_s', 'subscribed_p99_us');
});

story('client events: five channels of four', async () => {
  const { results } = await bench('client-events', '--channels', '5', '--members', '4', '--secs', '1', '--warmup', '0.2');
  positive(results, 'events_per_s', 'latency_p99_us');
});

story('slow: readers that stall are told apart from the others', async () => {
  const { results } = await bench('slow', '-n', '20', '-m', '2', '--rate', '50', '--size', '1000', '--secs', '1', '--warmup', '0.2');
  positive(results, 'latency_p99_us', 'all_reading_latency_p99_us', 'p99_beside_stalled_ratio');
  assert.equal(results.stalled_closed + results.stalled_still_open, 2);
});

story('tenants: a quiet app beside a loud one', async () => {
  const quiet = await server.app({ name: 'quiet' });
  const { results } = await bench('tenants', '-n', '20', '-p', '2', '-w', '4', '--quiet-n', '5', '--secs', '1', '--warmup', '0.2', '--quiet-app-id', quiet.id, '--quiet-key', quiet.key, '--quiet-secret', quiet.secret);
  positive(results, 'quiet_alone_latency_p99_us', 'quiet_beside_latency_p99_us', 'quiet_p99_ratio', 'loud_deliveries_per_s');
});

const SOAK = ['-n', '20', '--channels', '4', '-p', '8', '--churn', '8', '--stalled', '3', '--faults', '6', '--size', '4000', '--sample', '0.1', '--warmup', '0.5'];

story('soak: load, churn, stalled readers and faults at once; memory and descriptors over time', async () => {
  const { results, samples } = await bench('soak', ...SOAK, '--secs', '7.5');
  positive(results, 'deliveries_per_s', 'bursts', 'publishes_that_exclude', 'deliveries_to_guests', 'churn_cycles', 'stalled_closed');
  positive(results, 'left_by_close_frame', 'left_by_fin', 'left_by_reset', 'left_within_a_frame');
  positive(results, 'garbage_handshakes', 'half_heads', 'invalid_frames', 'oversize_frames', 'invalid_json', 'wrong_signatures');
  positive(results, 'forged_publishes', 'publishes_between', 'broken_publishes');
  for (const key of ['memory_growth_mib', 'descriptors_growth']) assert.equal(typeof results[key], 'number', key);
  assert.ok(samples.length > 30, `${samples.length} samples`);
  for (const sample of samples) assert.ok(sample.at_s >= 0 && sample.memory_mib > 1 && sample.descriptors > 20, JSON.stringify(sample));
});

story('soak: a frame that nobody measured, and memory beyond what it may grow to, make the exit code 1', async () => {
  const args = ['bench', 'soak', ...target(), '--server-pid', String(server.pid), '--json', ...SOAK, '--secs', '2', '--growth-max=-1000'];
  await server.publish(LOUD, 'bench-0-0', 'foreign', {}); // this connection is there before the descriptors are counted
  let over = false;
  const soak = command(args).finally(() => { over = true; });
  while (!over) {
    await server.publish(LOUD, 'bench-0-0', 'foreign', {});
    await sleep(50);
  }
  const { code, stdout, stderr } = await soak;
  assert.equal(code, 1, stdout + stderr);
  const { ok, faults } = JSON.parse(stdout);
  assert.equal(ok, false);
  for (const what of ['invalid', 'invalid frames for guests', 'memory grew by more than --growth-max']) assert.ok(faults[what] > 0, `${what}: ${stdout}`);
  assert.equal(faults.lost, 0);
});

story('a table for people says the same in words', async () => {
  const { code, stdout } = await command(['bench', 'publish', ...target(), '-p', '2', '--secs', '0.3', '--warmup', '0']);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /requests +[\d,]+ \/s/);
  assert.match(stdout, /everything arrived as it was sent/);
});

story('what cannot be measured is named, with exit code 2', async () => {
  const closed = await freePort();
  for (const [args, word] of [
    [['fanout', ...target({ port: closed })], /nothing answers/],
    [['fanout', ...target({ app: { ...LOUD, secret: 'wrong' } })], /answered 401/],
    [['fanout', ...target(), '-n', '5', '--channels', '6'], /--channels/],
    [['fanout', ...target(), '-n', '100000000'], /hard limit/],
    [['idle', ...target(), '-n', '20', '--server-pid', '99999999'], /no such process/],
    [['publish', ...target(), '--size', '10'], /--size/],
  ]) {
    const { code, stderr } = await command(['bench', ...args]);
    assert.equal(code, 2, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, word);
    assert.doesNotMatch(stderr, /panicked/);
  }
});

story('an event that is refused makes the exit code 1 and stands in the result', async () => {
  const app = await server.app({ name: 'polite', clientEvents: true });
  const { code, stdout } = await command(['bench', 'client-events', ...target({ app }), '--channels', '1', '--members', '2', '--secs', '1', '--warmup', '0', '--json']);
  const result = JSON.parse(stdout);
  assert.equal(code, 1, stdout);
  assert.equal(result.ok, false);
  assert.ok(Object.keys(result.faults).some((what) => /4301/.test(what)), stdout);
});

story('compare starts both servers in turns, ends them, and prints medians and a ratio', async () => {
  const port = await freePort();
  const start = async () => {
    const settings = { ...SETTINGS, FANFARE_LISTEN: `127.0.0.1:${port}`, FANFARE_DATA_DIR: temporaryDirectory(), FANFARE_METRICS_LISTEN: `127.0.0.1:${await freePort()}`, FANFARE_LOG: 'warn' };
    return `${Object.entries(settings).map(([name, value]) => `${name}='${value}'`).join(' ')} '${binary()}' serve`;
  };
  const args = ['bench', 'compare', '--a', await start(), '--b', await start(), '--scenario', 'churn', '--rounds', '1', ...target({ port }), '--json', '--', '-n', '5', '--secs', '0.5', '--warmup', '0'];
  const { code, stdout, stderr } = await command(args);
  assert.equal(code, 0, stdout + stderr);
  const lines = stdout.trim().split('\n').map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ label, compare }) => label ?? compare), ['A 1', 'B 1', 'churn']);
  const cycles = lines[2].rows.find(({ key }) => key === 'cycles_per_s');
  assert.ok(cycles.a.median > 0 && Math.abs(cycles.ratio - cycles.b.median / cycles.a.median) < 1e-6);
  assert.ok(lines[2].rows.some(({ key }) => key === 'server_cpu_us_per_cycle'), 'the processes of the started server were found');
  await assert.rejects(fetch(`http://127.0.0.1:${port}/healthz`), 'nothing runs on');
});
