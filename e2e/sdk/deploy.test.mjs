// What stands below deploy/ is checked by the programs that will read it (Helm, HAProxy, Prometheus, systemd, hadolint), and every
// setting that it names is one that the server knows. The proxies' files are run by behind-proxies.test.mjs. Docker Compose,
// Grafana, Litestream, Fly and Render are in no registry that the tests install from: their files are read, not run.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { client, subscribed } from './clients.mjs';
import { commandOk, startServer, story, temporaryDirectory, until } from './harness.mjs';
import { startRedis } from './redis.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const python = fileURLToPath(new URL('.venv/bin/python', import.meta.url));
const files = (folder) => readdirSync(`${root}${folder}`, { recursive: true }).map((name) => `${folder}/${name}`).filter((name) => statSync(root + name).isFile());
const read = (name) => readFileSync(root + name, 'utf8');

/** Runs a program to its end; what it said, if it ended well. */
function ran(program, args, { input, env = {} } = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: root, input, encoding: 'utf8', env: { PATH: process.env.PATH, HOME: temporaryDirectory('home'), ...env }, timeout: 30_000 });
  assert.equal(error, undefined, `${program}: scripts/install.sh`);
  assert.equal(status, 0, `${program} ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout + stderr;
}

/** YAML by PyYAML, with its merge keys carried out. */
const yaml = (name) => JSON.parse(ran(python, ['-c', 'import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin)), default=str))'], { input: read(name) }));

story('every setting named below deploy/ is one that the server knows', async () => {
  const { stdout } = await commandOk(['config', 'print']);
  const known = new Set([...stdout.matchAll(/^(?:# )?([a-z_]+) = /gm)].map(([, name]) => `FANFARE_${name.toUpperCase()}`));
  assert.ok(known.has('FANFARE_DRAIN_SECONDS') && known.size > 20, stdout);
  // Names that Docker Compose and Caddy fill in for themselves.
  const theirs = new Set(['FANFARE_IMAGE', 'FANFARE_BIND', 'FANFARE_HOST', 'FANFARE_CONTROL', 'FANFARE_REALTIME']);
  const unknown = files('deploy').flatMap((name) => [...new Set(read(name).match(/\bFANFARE_[A-Z]+(?:_[A-Z]+)*\b/g) ?? [])].filter((one) => !known.has(one) && !theirs.has(one)).map((one) => `${name}: ${one}`));
  assert.deepEqual(unknown.filter((line) => !/FANFARE_(STRIPE|APP)$/.test(line)), []);
});

story('YAML, TOML and JSON are well formed', async () => {
  for (const name of files('deploy')) {
    if (/\.ya?ml$/.test(name) && !name.includes('/templates/')) assert.ok(yaml(name).length > 0, name);
    if (/\.json$/.test(name)) JSON.parse(read(name));
    if (/\.toml$/.test(name)) ran(python, ['-c', 'import sys, tomllib; tomllib.load(sys.stdin.buffer)'], { input: read(name) });
  }
});

story('compose: nodes are not root, lose nothing on a restart, and a cluster has three of them', async () => {
  const [one] = yaml('deploy/compose.yml');
  assert.deepEqual(one.services.fanfare.volumes, ['data:/var/lib/fanfare']);
  assert.deepEqual(one.services.caddy.profiles, ['tls']);
  const [cluster] = yaml('deploy/compose.cluster.yml');
  const realtime = Object.entries(cluster.services).filter(([, { environment }]) => environment?.FANFARE_ROLE === 'realtime');
  assert.equal(realtime.length, 3);
  const proxy = read('deploy/proxy/haproxy-cluster.cfg');
  for (const [name] of [...realtime, ['control']]) assert.ok(proxy.includes(` ${name}:6001 `), `the proxy knows ${name}`);
  for (const node of [one.services.fanfare, cluster.services.control, ...realtime.map(([, service]) => service)]) {
    assert.equal(node.read_only, true);
    assert.deepEqual(node.cap_drop, ['ALL']);
    assert.ok(Number.parseInt(node.stop_grace_period, 10) > Number(node.environment.FANFARE_DRAIN_SECONDS), 'time to drain');
  }
  for (const { volumes = [] } of [...Object.values(one.services), ...Object.values(cluster.services)]) {
    for (const [, file] of volumes.map((text) => /^\.\/(.+?):/.exec(text)).filter(Boolean)) assert.ok(statSync(`${root}deploy/${file}`).isFile(), file);
  }
});

story('the image: hadolint has nothing to say, and what is built from is not left out', async () => {
  ran(fileURLToPath(new URL('.venv/bin/hadolint', import.meta.url)), ['deploy/docker/Dockerfile']);
  const kept = new Set([...read('.dockerignore').matchAll(/^!(\S+)$/gm)].map(([, name]) => name));
  const [, members] = /^members = \[(.*)\]$/m.exec(read('Cargo.toml'));
  for (const name of ['Cargo.toml', 'Cargo.lock', 'migrations', ...members.match(/[a-z]+/g)]) assert.ok(kept.has(name), `${name} must be in .dockerignore`);
  const [, version] = /^rust-version = "(.*)"$/m.exec(read('Cargo.toml'));
  assert.ok(read('deploy/docker/Dockerfile').includes(`FROM rust:${version}-`), 'the compiler that the workspace asks for');
});

const cluster = { mode: 'cluster', secret: { existing: 'fanfare-secrets' } };
const pods = (documents) => documents.filter(({ spec }) => spec?.template?.spec?.containers);
const settings = (pod) => new Map(pod.spec.template.spec.containers[0].env.map((one) => [one.name, one]));
const kinds = (documents) => documents.map(({ kind }) => kind).sort();

story('the chart: Helm lints it, and renders one node, a cluster, nodes far away, and no nonsense', async () => {
  const cases = [
    {},
    { ...cluster, url: 'https://ws.example.com', serviceMonitor: { enabled: true }, ingress: { enabled: true, tlsSecret: 'tls' }, networkPolicy: { enabled: true, metricsFrom: [{ podSelector: {} }] }, realtime: { autoscaling: { connections: 20_000 } } },
    { ...cluster, control: { enabled: false }, realtime: { controlUrl: 'https://ws.example.com', autoscaling: { enabled: false } } },
    { mode: 'cluster' },
    { mode: 'many' },
    { drainSecond: 3 },
    { ...cluster, control: { enabled: false } },
    { secret: { values: { FANFARE_ADMIN_EMAIL: 'a@example.test', FANFARE_ADMIN_PASSWORD: '0123: "x"' } } },
  ];
  const { lint, renders } = JSON.parse(ran(python, ['e2e/sdk/python/chart.py', 'deploy/helm/fanfare'], { input: JSON.stringify(cases.map((values) => ({ values }))) }));
  assert.deepEqual(lint.errors, []);
  assert.deepEqual(lint.messages.filter(({ severity }) => severity > 1), []);
  const [single, full, distant, ...rest] = renders;
  const refused = rest.slice(0, 4).map(({ error }) => error ?? 'rendered');
  for (const [n, wanted] of [/wants FANFARE_REDIS_URL/, /mode/, /drainSecond/, /controlUrl/].entries()) assert.match(refused[n], wanted);

  assert.deepEqual(kinds(single.documents), ['Secret', 'Service', 'StatefulSet']);
  const [node] = pods(single.documents);
  assert.equal(node.spec.volumeClaimTemplates[0].metadata.name, 'data');
  assert.ok(!settings(node).has('FANFARE_ROLE'));

  assert.deepEqual(kinds(full.documents), ['Deployment', 'Deployment', 'HorizontalPodAutoscaler', 'Ingress', 'Ingress', 'NetworkPolicy', 'PodDisruptionBudget', 'Service', 'Service', 'Service', 'ServiceMonitor']);
  assert.deepEqual(pods(full.documents).map((pod) => settings(pod).get('FANFARE_ROLE').value).sort(), ['control', 'realtime']);
  const scaled = full.documents.find(({ kind }) => kind === 'HorizontalPodAutoscaler');
  assert.deepEqual(scaled.spec.metrics.map(({ type }) => type), ['Resource', 'Pods']);
  const paths = full.documents.filter(({ kind }) => kind === 'Ingress').flatMap(({ spec }) => spec.rules[0].http.paths.map(({ path, backend }) => `${path} ${backend.service.name}`));
  assert.deepEqual(paths.sort(), ['/ live-fanfare-control', '/app/ live-fanfare-realtime', '/apps/ live-fanfare-realtime', '/pusher/ live-fanfare-realtime']);

  const [alone] = pods(distant.documents);
  assert.equal(pods(distant.documents).length, 1);
  assert.ok(settings(alone).has('FANFARE_NODE_TOKEN') && !settings(alone).has('FANFARE_DATABASE_URL') && !settings(alone).has('FANFARE_SECRET_KEY'), 'it gets no key of the database');
  assert.equal(alone.spec.replicas, 3);
  assert.equal(rest[4].documents.find(({ kind }) => kind === 'Secret').stringData.FANFARE_ADMIN_PASSWORD, '0123: "x"');

  for (const pod of [single, full, distant].flatMap(({ documents }) => pods(documents))) {
    const { containers: [container], securityContext, terminationGracePeriodSeconds, automountServiceAccountToken } = pod.spec.template.spec;
    assert.ok(terminationGracePeriodSeconds > Number(settings(pod).get('FANFARE_DRAIN_SECONDS').value));
    assert.equal(automountServiceAccountToken, false);
    assert.equal(securityContext.runAsNonRoot, true);
    assert.deepEqual(container.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } });
    assert.equal(container.readinessProbe.httpGet.path, '/readyz');
    assert.equal(container.livenessProbe.httpGet.path, '/healthz');
    for (const { name } of container.volumeMounts) assert.ok([...pod.spec.template.spec.volumes, ...(pod.spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata)].some((volume) => volume.name === name), name);
    for (const [label, value] of Object.entries(pod.spec.selector.matchLabels)) assert.equal(pod.spec.template.metadata.labels[label], value);
  }
});

story('the units: systemd reads every line, and leaves the process little to do harm with', async () => {
  const folder = temporaryDirectory('units');
  for (const name of ['fanfare.service', 'fanfare@.service']) {
    // A program that is there: systemd looks.
    writeFileSync(`${folder}/${name}`, read(`deploy/systemd/${name}`).replace('/usr/local/bin/fanfare', '/bin/true'));
    const said = ran('systemd-analyze', ['verify', '--man=no', `${folder}/${name}`]);
    assert.ok(!said.includes(name.replace('@', '')) && !said.includes(`${folder}/`), said);
    ran('systemd-analyze', ['security', '--offline=true', '--threshold=15', '--no-pager', `${folder}/${name}`]);
  }
  mkdirSync(`${folder}/fanfare.service.d`);
  writeFileSync(`${folder}/fanfare.service.d/low-port.conf`, read('deploy/systemd/low-port.conf'));
  const said = ran('systemd-analyze', ['verify', '--man=no', `${folder}/fanfare.service`]);
  assert.ok(!said.includes(`${folder}/`), said);
});

story('the paper: what it links to and what the files call it by is there', () => {
  const paper = read('deploy/README.md');
  const anchor = (heading) => heading.toLowerCase().replaceAll(/[^\w -]/g, '').replaceAll(' ', '-');
  const anchors = (text) => new Set([...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchor(heading)));
  for (const [, file, part] of paper.matchAll(/\]\(\s*([^)#\s]*)(?:#([^)]*))?\)/g)) {
    assert.ok(!part || anchors(file ? read(`deploy/${file}`) : paper).has(part), `${file}#${part}`);
    if (file) assert.ok(statSync(`${root}deploy/${file}`).isFile(), file);
  }
  for (const [, file] of paper.matchAll(/`((?:systemd|docker|compose|fly|render|litestream|proxy|prometheus|grafana)[./][\w./@-]+)`/g)) assert.ok(existsSync(`${root}deploy/${file}`), file);
  for (const [, name] of paper.matchAll(/`(e2e\/sdk\/[\w-]+)`/g)) assert.ok(statSync(`${root}${name}.test.mjs`).isFile(), name);
  for (const name of files('deploy')) for (const [, heading] of read(name).matchAll(/deploy\/README\.md, "([^"]+)"/g)) assert.ok(anchors(paper).has(anchor(heading)), `${name}: ${heading}`);
  assert.ok(paper.includes(read('deploy/systemd/low-port.conf').match(/^\w+=.*$/gm).map((line) => `    ${line}`).join('\n')), 'the drop-in as it is printed');
});

story('the proxy of the cluster: HAProxy takes its file', async () => {
  ran('/usr/sbin/haproxy', ['-c', '-f', 'deploy/proxy/haproxy-cluster.cfg']);
});

const dashboard = JSON.parse(read('deploy/grafana/fanfare.json'));
/** Expressions as Prometheus gets them: Grafana fills its variables in. */
const expressions = [...dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr])), ...dashboard.annotations.list.map(({ name, expr }) => [name, expr])].map(([title, expr]) => [title, expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*')]);

story('dashboard and alerts: Prometheus takes every expression', async () => {
  ran('promtool', ['check', 'config', 'deploy/prometheus/prometheus.yml']);
  const rules = { groups: [{ name: 'dashboard', rules: expressions.map(([, expr], n) => ({ record: `panel:${n}`, expr })) }] };
  const file = `${temporaryDirectory('rules')}/rules.yml`;
  writeFileSync(file, JSON.stringify(rules)); // JSON is YAML
  ran('promtool', ['check', 'rules', file]);
});

story('the dashboard is whole: panels have places of their own, a description of units, and the data source that is chosen', async () => {
  const { panels } = dashboard;
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const cells = new Set();
  for (const { title, type, gridPos: { x, y, w, h }, targets, datasource } of panels) {
    assert.ok(title && x + w <= 24, title);
    for (let column = x; column < x + w; column += 1) for (let line = y; line < y + h; line += 1) {
      assert.ok(!cells.has(`${column},${line}`), `${title} lies over another`);
      cells.add(`${column},${line}`);
    }
    if (type !== 'row') {
      assert.equal(datasource.uid, '${datasource}', title);
      assert.ok(targets.length > 0, title);
    }
  }
});

story('each metric and label that dashboard and alerts use is on a running node', async (t) => {
  // A node of a cluster has all metrics that there are.
  const redis = await startRedis(t);
  const server = await startServer({ env: { FANFARE_REDIS_URL: redis.url } });
  t.after(() => server.stop());
  const url = await until(() => /metrics are at (http:\S+)/.exec(server.output)?.[1], 'the address of the metrics');
  const app = await server.app({ name: 'seen' });
  const pusher = client(t, server, app);
  await subscribed(pusher, 'news');
  client(t, server, { ...app, key: '0123456789abcdef0123' });
  const leaving = client(t, server, app);
  await subscribed(leaving, 'news');
  leaving.disconnect();
  const labels = new Map();
  await until(async () => {
    for (const [, name, inner] of (await (await fetch(url)).text()).matchAll(/^([a-z_]+)(?:\{(.*?)\})? /gm)) {
      const seen = labels.get(name) ?? labels.set(name, new Map()).get(name);
      for (const [, label, value] of (inner ?? '').matchAll(/(\w+)="([^"]*)"/g)) seen.set(label, (seen.get(label) ?? new Set()).add(value));
    }
    return ['fanfare_connections_refused_total', 'fanfare_connections_closed_total', 'fanfare_app_connections', 'fanfare_app_messages_today'].every((name) => labels.has(name));
  }, 'refusals, ends and apps to be counted');

  const alerts = yaml('deploy/prometheus/alerts.yml')[0].groups.flatMap(({ rules }) => rules.map(({ alert, expr }) => [alert, expr]));
  // Prometheus itself gives these.
  const given = new Set(['job', 'instance']);
  for (const [title, expr] of [...expressions, ...alerts]) {
    const used = [...expr.matchAll(/\b((?:fanfare|process)_[a-z_]+)(?:\{([^}]*)\})?/g)];
    assert.ok(used.length > 0 || /\bup\{/.test(expr), `${title}: ${expr}`);
    const known = new Set([...given, ...used.flatMap(([, name]) => [...(labels.get(name)?.keys() ?? [])])]);
    for (const [, name, matchers = ''] of used) {
      assert.ok(labels.has(name), `${title}: there is no metric ${name}`);
      for (const [, label, operator, value] of matchers.matchAll(/(\w+)(=~?|!~|!=)"([^"]*)"/g)) {
        assert.ok(given.has(label) || labels.get(name).has(label), `${title}: ${name} has no label ${label}`);
        // Codes come and go; classes are all there from the start.
        if (label === 'class' && operator === '=') assert.ok(labels.get(name).get(label).has(value), `${title}: no ${label} ${value}`);
      }
    }
    for (const [, list] of expr.matchAll(/\b(?:by|on|group_right)\s*\(([^)]*)\)/g)) for (const label of list.split(/\s*,\s*/)) assert.ok(known.has(label), `${title}: no metric of it has a label ${label}`);
  }
});
