/*
 * How much memory and time it takes to plan a million entries: real files below one directory, a real ledger that
 * remembers all of them, and, where a job looks at the other side, a remote that makes up its listings. Each row is a
 * process of its own, so that one row's peak is not another's; the tree and the ledger are made by one more. Ends with
 * 1 where a row needs more memory than is promised, or plans something else than it has to. Measures no transfers.
 *
 *   node build/test/bench/plan-memory.js [DIRECTORIES [FILES_IN_EACH]]
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Job } from '../../src/job/job.js';
import { loadConfiguration } from '../../src/job/load.js';
import { type Ledger, openLedger } from '../../src/ledger/ledger.js';
import { walk } from '../../src/local/walk.js';
import type { RemoteFile } from '../../src/plan/entry.js';
import type { RemoteDirectory } from '../../src/remote/remote.js';
import { bindingKey } from '../../src/run/context.js';
import { planJob } from '../../src/run/plan.js';
import { runJob } from '../../src/run/run.js';
import { MemoryRemote } from '../support/memory-remote.js';

/** What is promised for a million entries. */
const LIMIT_MIB = 250;

/** In each directory so many files are known to the ledger and gone here: 50 of 1,000. */
const GONE_OF = 20;

/** When the other side says that everything was modified. */
const MODIFIED_MS = Date.UTC(2024, 0, 1);

interface Size {
  readonly directories: number;
  readonly files: number;
}

type Counts = Readonly<Record<string, number>>;

interface Row {
  readonly title: string;
  /** What differs from a push that copies. */
  readonly job: Partial<Job>;
  readonly does: 'plan' | 'run';
  /** How many verdicts of which kind there have to be; of a run, its outcome and how many it would delete. */
  readonly expected: (there: number, gone: number) => Counts;
}

const EXTRANEOUS: Job['deletes'] = {
  policy: 'trash',
  keepMs: 86_400_000,
  extraneous: true,
  limit: { percent: 100, files: 0 },
};

const ROWS: Readonly<Record<string, Row>> = {
  copy: {
    title: 'push copy, unchanged',
    job: {},
    does: 'plan',
    expected: (there, gone) => ({ unchanged: there, kept: gone }),
  },
  mirror: {
    title: 'push mirror, 5 % deleted here',
    job: { mode: 'mirror' },
    does: 'plan',
    expected: (there, gone) => ({ unchanged: there, remove: gone }),
  },
  held: {
    title: 'the same as a run, held by the guard',
    job: { mode: 'mirror', deletes: { ...EXTRANEOUS, extraneous: false, limit: { percent: 1, files: 0 } } },
    does: 'run',
    expected: (there, gone) => ({ unchanged: there, held: gone }),
  },
  extraneous: {
    title: 'push mirror, extraneous, 5 % deleted here',
    job: { mode: 'mirror', deletes: EXTRANEOUS },
    does: 'plan',
    expected: (there, gone) => ({ unchanged: there, remove: gone }),
  },
  'two-way': {
    title: 'two-way, 5 % deleted here',
    job: { mode: 'two-way' },
    does: 'plan',
    expected: (there, gone) => ({ unchanged: there, remove: gone }),
  },
};

interface Measured {
  readonly counts: Counts;
  readonly ms: number;
  readonly peakMiB: number;
}

/** @returns the exit code */
function all(size: Size): number {
  const directory = mkdtempSync(join(placeFor(size), 'ferryd-bench-'));
  try {
    child('make', { directory, size, name: '' });
    const entries = size.directories * (size.files + goneIn(size));
    say(
      `${entries.toLocaleString('en')} entries in ${size.directories} directories; at most ${LIMIT_MIB} MiB`,
    );
    const verdicts = Object.entries(ROWS).map(([name, row]) => {
      const measured = JSON.parse(child('measure', { directory, size, name })) as Measured;
      const verdict = verdictOn(
        measured,
        row.expected(size.directories * size.files, size.directories * goneIn(size)),
      );
      const { ms, peakMiB } = measured;
      const rate = Math.round(entries / (ms / 1000)).toLocaleString('en');
      const figures = [
        `${peakMiB.toFixed(0).padStart(4)} MiB`,
        `${(ms / 1000).toFixed(1).padStart(6)} s`,
        `${rate.padStart(8)} entries/s`,
      ];
      say(`${row.title.padEnd(44)} ${figures.join('  ')}  ${verdict}`);
      return verdict;
    });
    return verdicts.every((verdict) => verdict === 'ok') ? 0 : 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function verdictOn({ counts, peakMiB }: Measured, expected: Counts): string {
  const sorted = (some: Counts): string => JSON.stringify(Object.entries(some).sort());
  if (sorted(counts) !== sorted(expected)) return `WRONG: ${sorted(counts)}`;
  return peakMiB > LIMIT_MIB ? 'TOO MUCH' : 'ok';
}

/** Does a part of the work in a process of its own. @returns what that printed */
function child(task: 'make' | 'measure', { directory, size, name }: Stage): string {
  const words = [task, directory, String(size.directories), String(size.files), name];
  return execFileSync(process.execPath, [fileURLToPath(import.meta.url), ...words], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Memory is the quicker place, where it has room for so many files. */
function placeFor({ directories, files }: Size): string {
  const memory = '/dev/shm';
  if (!existsSync(memory)) return tmpdir();
  const { bavail, bsize, ffree } = statfsSync(memory);
  const room = bavail * bsize > 2 ** 30 && ffree > 2 * directories * (files + 1);
  return room ? memory : tmpdir();
}

interface Stage {
  readonly directory: string;
  readonly size: Size;
  /** Which row is measured. */
  readonly name: string;
}

function stageOf(directory: string | undefined, words: readonly string[]): Stage {
  if (directory === undefined) throw new Error('This is started by the benchmark itself.');
  const [directories, files, name = ''] = words;
  const size = { directories: Number(directories), files: Number(files) };
  return { directory: realpathSync(directory), size, name };
}

/** The tree, the job and a ledger that remembers all of the tree and more. */
async function make({ directory, size }: Stage): Promise<void> {
  const tree = join(directory, 'tree');
  for (let number = 0; number < size.directories; number += 1) {
    const path = join(tree, nameOf('d', number));
    mkdirSync(path, { recursive: true });
    for (let file = 0; file < size.files; file += 1) writeFileSync(join(path, nameOf('f', file)), '');
  }
  mkdirSync(join(directory, 'jobs'));
  writeFileSync(join(directory, 'password'), 'never asked for', { mode: 0o600 });
  writeFileSync(
    join(directory, 'jobs', 'million.yaml'),
    `from: ${tree}\nto: { url: "ftpes://127.0.0.1/million", user: bench, password: { file: ${directory}/password } }\n`,
  );
  const ledger = openLedger(join(directory, 'ledger.db'));
  try {
    await remember(ledger, bindingKey(await jobIn(directory)), tree, size);
  } finally {
    ledger.close();
  }
}

async function remember(
  ledger: Ledger,
  key: Parameters<Ledger['bind']>[0],
  tree: string,
  size: Size,
): Promise<void> {
  const bindingId = ledger.bind(key);
  const sha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  const adopt = (
    path: string,
    local: { sizeBytes: number; mtimeMs: number; ctimeMs: number; inode: number },
  ) => {
    const baseline = { path, local, sha256, remoteModifiedMs: MODIFIED_MS };
    ledger.record({ kind: 'adopted', bindingId, baseline, temporary: undefined });
  };
  for await (const sights of walk(tree, { wants: () => true })) {
    for (const sight of sights) {
      if (sight.kind !== 'file') continue;
      const { path, sizeBytes, mtimeMs, ctimeMs, inode } = sight.file;
      adopt(path, { sizeBytes, mtimeMs, ctimeMs, inode });
    }
  }
  for (const path of goneOnes(size))
    adopt(path, { sizeBytes: 0, mtimeMs: MODIFIED_MS, ctimeMs: 0, inode: 1 });
}

/** One row, as JSON on the standard output. */
async function measure({ directory, size, name }: Stage): Promise<void> {
  const row = ROWS[name];
  if (row === undefined) throw new Error(`There is no row ${name}.`);
  const job = { ...(await jobIn(directory)), ...row.job };
  const remote = new MadeUp(size);
  const accounts = { of: async () => ({ remote: () => remote }) };
  const ledger = openLedger(join(directory, 'ledger.db'));
  const counts: Record<string, number> = {};
  const beganMs = performance.now();
  if (row.does === 'plan') {
    for await (const { kind } of planJob(job, { ledger, accounts, onFinding: () => {} })) {
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
  } else {
    const { outcome, tally } = await runJob(job, { ledger, accounts, listener: () => {}, trigger: 'bench' });
    counts.unchanged = tally.unchanged;
    counts[outcome] = ledger.heldPlan(job.name)?.files ?? 0;
  }
  const ms = performance.now() - beganMs;
  ledger.close();
  const measured: Measured = { counts, ms, peakMiB: process.resourceUsage().maxRSS / 1024 };
  process.stdout.write(JSON.stringify(measured));
}

async function jobIn(directory: string): Promise<Job> {
  const { jobs, problems } = await loadConfiguration(join(directory, 'jobs'), { cron: () => undefined });
  const [job] = jobs;
  if (job === undefined) throw new Error(problems.map(({ message }) => message).join('\n'));
  return job;
}

/** Holds all that the ledger remembers, and what is gone here too. */
class MadeUp extends MemoryRemote {
  readonly #size: Size;

  constructor(size: Size) {
    super();
    this.#size = size;
  }

  override async list(directory: string): Promise<RemoteDirectory> {
    const { directories, files } = this.#size;
    const names = directory === '' ? numbered('d', directories) : [];
    const file = (name: string): RemoteFile => ({
      path: `${directory}/${name}`,
      sizeBytes: 0,
      modifiedMs: MODIFIED_MS,
    });
    const held = directory === '' ? [] : [...numbered('f', files), ...numbered('gone', goneIn(this.#size))];
    return { files: held.map(file), directories: names, others: [], complete: true, proven: true };
  }
}

function goneIn({ files }: Size): number {
  return Math.floor(files / GONE_OF);
}

function* goneOnes(size: Size): Generator<string> {
  for (const directory of numbered('d', size.directories)) {
    for (const name of numbered('gone', goneIn(size))) yield `${directory}/${name}`;
  }
}

function numbered(word: string, count: number): string[] {
  return Array.from({ length: count }, (_, number) => nameOf(word, number));
}

function nameOf(word: string, number: number): string {
  return `${word}-${String(number).padStart(6, '0')}`;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const [, , first, second, ...rest] = process.argv;
if (first === 'make') await make(stageOf(second, rest));
else if (first === 'measure') await measure(stageOf(second, rest));
else process.exitCode = all({ directories: Number(first ?? 1_000), files: Number(second ?? 1_000) });
