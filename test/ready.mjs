/*
 * Makes a fresh clone ready: packages installed as the lock file says, the native one built for this Node, and
 * TypeScript compiled to build/. Does nothing twice. `npm test` and `npm run demo` begin with it, so it may use
 * nothing that is not in Node itself.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Where a native package has to be compiled, Node's headers beside this Node spare their download. */
function environment() {
  const prefix = join(dirname(process.execPath), '..');
  const headers = existsSync(join(prefix, 'include', 'node', 'node.h'));
  return headers ? { npm_config_nodedir: prefix, ...process.env } : process.env;
}

/** Runs a command and shows what it says; ends everything where it fails. */
function run(what, command, ...args) {
  process.stderr.write(`ferryd: ${what} ...\n`);
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    env: environment(),
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) {
    process.stderr.write(
      `ferryd: ${command} ${args.join(' ')} failed${error === undefined ? '' : ` (${error.message})`}. What it said stands above.\n`,
    );
    process.exit(1);
  }
}

function nodeIsNewEnough() {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const wanted = engines.node.replace('>=', '').split('.').map(Number);
  const have = process.versions.node.split('.').map(Number);
  return have[0] > wanted[0] || (have[0] === wanted[0] && have[1] >= wanted[1]);
}

function packagesAreThere() {
  const installed = join(root, 'node_modules', '.package-lock.json');
  return (
    existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs
  );
}

function nativePackageLoads() {
  try {
    const Database = createRequire(import.meta.url)('better-sqlite3');
    new Database(':memory:').close();
    return true;
  } catch {
    return false;
  }
}

if (!nodeIsNewEnough()) {
  process.stderr.write(`ferryd: Node 20.19 or newer is needed; this is ${process.version}.\n`);
  process.exit(1);
}
if (!packagesAreThere())
  run('installing packages, this takes a minute', 'npm', 'ci', '--no-audit', '--no-fund');
if (!nativePackageLoads())
  run('building the native package for this Node', 'npm', 'rebuild', 'better-sqlite3');
run('compiling', 'npm', 'run', '--silent', 'build');
