/*
 * What the ledger writes: how many bytes, writes and waits for the disk (fsync) a delivered file costs, as an SD card
 * sees it. Real runs of a push over a remote in memory, each in a process of its own, once a run without news, once one
 * file, once many as fast as they go, and once some that come one after the other as over a slow link. Bytes are those
 * of the process (/proc/self/io, wchar); waits are counted by strace where that is there. Measures no time.
 *
 *   node build/test/bench/ledger-writes.js [FILES]
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Job } from '../../src/job/job.js';
import { loadConfiguration } from '../../src/job/load.js';
import { openLedger } from '../../src/ledger/ledger.js';
import type { Remote } from '../../src/remote/remote.js';
import { runJob } from '../../src/run/run.js';
import { MemoryRemote } from '../support/memory-remote.js';

/** How long a file of the slow row takes, in milliseconds: longer than a group of changes used to wait. */
const SLOW_MS = 120;
const SLOW_FILES = 20;
const FILES = 10_000;

interface Row {
  readonly title: string;
  readonly files: number;
  readonly eachMs: number;
}

function rows(files: number): Readonly<Record<string, Row>> {
  return {
    none: { title: 'a run without news', files: 0, eachMs: 0 },
    one: { title: '1 file', files: 1, eachMs: 0 },
    many: { title: `${files} files, as fast as they go`, files, eachMs: 0 },
    slow: { title: `${SLOW_FILES} files, one every ${SLOW_MS} ms`, files: SLOW_FILES, eachMs: SLOW_MS },
  };
}

async function main(argv: readonly string[]): Promise<void> {
  const [role, directory = '', name = '', files = ''] = argv;
  if (role === 'prepare') return prepare(directory, Number(name));
  const row = rows(Number(files))[name];
  if (role === 'run' && row !== undefined) return run(directory, row);
  const count = role === undefined ? FILES : Number(role);
  if (!Number.isSafeInteger(count) || count < 1) throw new Error('FILES is a number of files.');
  const isTraced = spawnSync('strace', ['-V']).status === 0;
  if (!isTraced) print('strace is not there: waits for the disk are not counted.');
  print('row                                       bytes/file  writes/file  fsyncs/file  ledger');
  for (const [key, measured] of Object.entries(rows(count)))
    print(measure(key, measured, { count, isTraced }));
}

/** In its own process, so that making the files is not counted. */
function measure(
  name: string,
  row: Row,
  { count, isTraced }: { readonly count: number; readonly isTraced: boolean },
): string {
  const directory = mkdtempSync(join(tmpdir(), 'ferryd-writes-'));
  const self = fileURLToPath(import.meta.url);
  try {
    execFileSync(process.execPath, [self, 'prepare', directory, String(row.files)]);
    const trace = join(directory, 'trace');
    const command = [process.execPath, self, 'run', directory, name, String(count)];
    const traced = ['strace', '-f', '-qq', '-e', 'trace=fsync,fdatasync', '-o', trace, ...command];
    const [program = '', ...args] = isTraced ? traced : command;
    const { bytes, writes } = JSON.parse(execFileSync(program, args, { encoding: 'utf8' }));
    const waits = isTraced
      ? readFileSync(trace, 'utf8')
          .split('\n')
          .filter((line) => /f(data)?sync\(/.test(line)).length
      : undefined;
    const each = Math.max(1, row.files);
    const ledgerKiB = Math.round(statSync(join(directory, 'ledger.db')).size / 1024);
    const figures = [
      String(Math.round(bytes / each)).padStart(10),
      (writes / each).toFixed(2).padStart(11),
      (waits === undefined ? '-' : (waits / each).toFixed(3)).padStart(11),
      `${ledgerKiB} KiB`.padStart(9),
    ];
    return `${row.title.padEnd(42)}${figures.join('  ')}`;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const MODIFIED_S = Date.UTC(2024, 0, 1) / 1000;

/** A job, its files, and a ledger in which one run has come to its end. */
async function prepare(directory: string, files: number): Promise<void> {
  const jobs = join(directory, 'jobs');
  for (const name of ['jobs', 'source']) mkdirSync(join(directory, name));
  writeFileSync(
    join(jobs, 'servers.yaml'),
    'nas: { url: "ftpes://127.0.0.1", user: a, password: { file: p } }\n',
  );
  writeFileSync(join(jobs, 'p'), 'secret', { mode: 0o600 });
  writeFileSync(join(jobs, 'push.yaml'), `from: ${join(directory, 'source')}\nto: nas:in\n`);
  await sail(directory, 0);
  for (let i = 0; i < files; i += 1) {
    const folder = join(directory, 'source', `d${Math.floor(i / 200)}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `file-${String(i).padStart(5, '0')}.txt`), `${MODIFIED_S} ${i}`);
  }
}

async function run(directory: string, row: Row): Promise<void> {
  const before = written();
  const uploaded = await sail(directory, row.eachMs);
  if (uploaded !== row.files) throw new Error(`${uploaded} files were sent, not ${row.files}.`);
  const after = written();
  print(JSON.stringify({ bytes: after.bytes - before.bytes, writes: after.writes - before.writes }));
}

async function sail(directory: string, eachMs: number): Promise<number> {
  const configuration = await loadConfiguration(join(directory, 'jobs'), { cron: () => undefined });
  const [job] = configuration.jobs;
  if (job === undefined) throw new Error(JSON.stringify(configuration.problems));
  const ledger = openLedger(join(directory, 'ledger.db'));
  try {
    const remote = slow(new MemoryRemote(), eachMs);
    const report = await runJob(oneByOne(job, eachMs), {
      ledger,
      accounts: { of: async () => ({ remote: () => remote }) },
      listener: () => {},
      trigger: 'bench',
    });
    if (report.outcome !== 'ok') throw new Error(JSON.stringify(report));
    return report.tally.uploaded;
  } finally {
    ledger.close();
  }
}

function oneByOne(job: Job, eachMs: number): Job {
  return eachMs === 0 ? job : { ...job, server: { ...job.server, connections: 1 } };
}

/** Every file takes its time. */
function slow(remote: Remote, eachMs: number): Remote {
  if (eachMs === 0) return remote;
  let turn: Promise<unknown> = Promise.resolve();
  const deliver: Remote['deliver'] = (...delivery) => {
    turn = turn.then(() => pause(eachMs));
    return turn.then(() => remote.deliver(...delivery));
  };
  return new Proxy(remote, {
    get(target, property) {
      if (property === 'deliver') return deliver;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function written(): { readonly bytes: number; readonly writes: number } {
  const text = readFileSync('/proc/self/io', 'utf8');
  const figure = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1]);
  return { bytes: figure('wchar'), writes: figure('syscw') };
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main(process.argv.slice(2));
