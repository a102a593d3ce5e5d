// Certificates for stories over TLS, made by openssl for the run, and node's trust in them.
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { mortal, temporaryDirectory } from './harness.mjs';

/** A certificate for 127.0.0.1 that signs itself: the paths of `cert` and `key`, and its `fingerprint`. */
export function certificate(directory, name, kind = ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']) {
  const [cert, key] = ['cert', 'key'].map((part) => path.join(directory, `${name}-${part}.pem`));
  const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE'];
  execFileSync('openssl', ['req', '-x509', '-newkey', ...kind, '-nodes', '-days', '2', ...names, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  return { cert, key, fingerprint: new X509Certificate(readFileSync(cert)).fingerprint256 };
}

/**
 * Gives certificates of these names that this process trusts in all it does. Node learns whom to trust only when it starts, so
 * the file that asks runs again in a process that knows; what stands behind this call runs there alone.
 */
export function trusted(names) {
  const known = process.env.FANFARE_STORY_CERTIFICATES;
  if (known) return JSON.parse(known);
  const directory = temporaryDirectory('certificates');
  const made = names.map((name, n) => certificate(directory, name, n % 2 ? ['rsa:2048'] : undefined));
  const all = path.join(directory, 'all.pem');
  writeFileSync(all, made.map(({ cert }) => readFileSync(cert, 'utf8')).join(''));
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: all, FANFARE_STORY_CERTIFICATES: JSON.stringify(made) };
  const { status } = spawnSync(...mortal(process.execPath, [...process.execArgv, ...process.argv.slice(1)]), { env, stdio: 'inherit' });
  process.exit(status ?? 1);
}
