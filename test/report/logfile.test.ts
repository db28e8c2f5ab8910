/* The log file: what lands in it, when a new one is begun, and what happens where the disk does not want it. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { symlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LogFile, type LogFileSettings } from '../../src/report/logfile.js';
import { describeMounted, mounted } from '../local/mounted.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

const HOUR_MS = 3_600_000;
const NOON = Date.UTC(2026, 10, 23, 12);

let directory: TemporaryDirectory;
let nowMs: number;
let told: string[];
let open: LogFile[];

beforeEach(async () => {
  directory = await temporaryDirectory('logfile');
  nowMs = NOON;
  told = [];
  open = [];
});
afterEach(async () => {
  for (const file of open) await file.close();
  await directory.remove();
});

const path = (): string => directory.join('log', 'ferryd.log');

function settings(other: Partial<LogFileSettings> = {}): LogFileSettings {
  return { path: path(), maxBytes: 1_000_000, maxAgeMs: 1_000 * HOUR_MS, keep: 3, ...other };
}

function logFile(other: Partial<LogFileSettings> = {}, retryMs = 10): LogFile {
  const file = new LogFile(settings(other), {
    onTrouble: (message) => told.push(message),
    onRecovery: (message) => told.push(message),
    droppedLine: (lines) => JSON.stringify({ dropped: lines }),
    now: () => nowMs,
    retryMs,
  });
  open.push(file);
  return file;
}

const line = (n: number, filler = ''): string =>
  `${JSON.stringify({ time: new Date(nowMs).toISOString(), n, filler })}\n`;

/** Writes lines one by one, each on the disk before the next one is. */
async function writeSlowly(file: LogFile, numbers: readonly number[], filler = ''): Promise<void> {
  for (const n of numbers) {
    file.write(line(n, filler));
    await vi.waitFor(() => expect(inAll()).toContain(n), { interval: 1 });
  }
}

function numbersIn(name: string): number[] {
  const text = readFileSync(name, 'utf8');
  expect(text === '' || text.endsWith('\n')).toBe(true);
  return text
    .split('\n')
    .slice(0, -1)
    .map((one) => JSON.parse(one).n);
}

/** Names of the log files, as `ls` has them: the current one first, as its name is a part of the others'. */
const names = (): string[] => readdirSync(dirname(path())).sort();

/** What is in all files, the oldest first. */
function inAll(): number[] {
  const [current, ...earlier] = names();
  return [...earlier, ...(current === undefined ? [] : [current])].flatMap((name) =>
    numbersIn(directory.join('log', name)),
  );
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('a log file', () => {
  it('is made with its directory, for its owner alone, and holds each line', async () => {
    const file = logFile({ path: directory.join('a', 'b', 'ferryd.log') });
    for (const n of range(1, 500)) file.write(line(n));
    await file.close();
    expect(numbersIn(directory.join('a/b/ferryd.log'))).toEqual(range(1, 500));
    expect(statSync(directory.join('a/b/ferryd.log')).mode & 0o777).toBe(0o600);
    expect(statSync(directory.join('a/b')).mode & 0o777).toBe(0o700);
  });

  it('is not made before there is a line, and nothing comes into it after the close', async () => {
    const file = logFile();
    await file.close();
    file.write(line(1));
    await file.close();
    expect(readdirSync(directory.path)).toEqual([]);
  });

  it('is gone on with, and has the rights that a person gave it', async () => {
    mkdirSync(dirname(path()));
    await writeFile(path(), line(1), { mode: 0o640 });
    const file = logFile();
    file.write(line(2));
    await file.close();
    expect(inAll()).toEqual([1, 2]);
    expect(statSync(path()).mode & 0o777).toBe(0o640);
  });

  it('begins a new line behind one that a power cut broke off', async () => {
    mkdirSync(dirname(path()));
    await writeFile(path(), '{"time":"2026-');
    const file = logFile();
    file.write(line(2));
    await file.close();
    expect(readFileSync(path(), 'utf8').split('\n').slice(1)).toEqual([line(2).trimEnd(), '']);
  });

  it('may be a link', async () => {
    mkdirSync(dirname(path()));
    await symlink(directory.join('elsewhere'), path());
    const file = logFile();
    file.write(line(1));
    await file.close();
    expect(numbersIn(directory.join('elsewhere'))).toEqual([1]);
  });

  it('that was moved away or deleted is made anew', async () => {
    const file = logFile();
    await writeSlowly(file, [1]);
    renameSync(path(), `${path()}.1`);
    file.write(line(2));
    await vi.waitFor(() => expect(numbersIn(path())).toEqual([2]), { interval: 1 });
    rmSync(dirname(path()), { recursive: true });
    file.write(line(3));
    await file.close();
    expect(numbersIn(path())).toEqual([3]);
    expect(told).toEqual([]);
  });
});

describe('rotation', () => {
  it('by size: no file is longer, no line is lost or cut, the oldest files go', async () => {
    const length = line(10).length;
    const file = logFile({ maxBytes: 10 * length, keep: 2 });
    for (const n of range(10, 59)) {
      nowMs += 1_000;
      file.write(line(n));
    }
    await file.close();
    expect(inAll()).toEqual(range(30, 59));
    expect(names()).toHaveLength(3);
    for (const name of names()) expect(statSync(directory.join('log', name)).size).toBe(10 * length);
  });

  it('names files so that they sort, also in one and the same millisecond, and when the clock goes back', async () => {
    const file = logFile({ maxBytes: 1, keep: 10 });
    await writeSlowly(file, [1, 2, 3]);
    nowMs -= 24 * HOUR_MS;
    await writeSlowly(file, [4, 5]);
    expect(names()).toEqual([
      'ferryd.log',
      'ferryd.log.20261123T120000.000Z',
      'ferryd.log.20261123T120000.001Z',
      'ferryd.log.20261123T120000.002Z',
      'ferryd.log.20261123T120000.003Z',
    ]);
    expect(inAll()).toEqual([1, 2, 3, 4, 5]);
  });

  it('by age, counted from the first line, over a restart too', async () => {
    const first = logFile({ maxAgeMs: 24 * HOUR_MS });
    await writeSlowly(first, [1]);
    nowMs += 23 * HOUR_MS;
    await writeSlowly(first, [2]);
    await first.close();
    const second = logFile({ maxAgeMs: 24 * HOUR_MS });
    await writeSlowly(second, [3]);
    expect(names()).toHaveLength(1);
    nowMs += HOUR_MS;
    await writeSlowly(second, [4]);
    expect(names()).toEqual(['ferryd.log', 'ferryd.log.20261124T120000.000Z']);
    expect(numbersIn(path())).toEqual([4]);
  });

  it('by the age that the system knows, where the first line says nothing', async () => {
    mkdirSync(dirname(path()));
    await writeFile(path(), 'somebody else was here\n');
    nowMs = Date.now();
    const file = logFile({ maxAgeMs: HOUR_MS });
    file.write(line(1));
    await file.close();
    expect(names()).toHaveLength(1);
    nowMs += 2 * HOUR_MS;
    const later = logFile({ maxAgeMs: HOUR_MS });
    later.write(line(2));
    await later.close();
    expect(names()).toHaveLength(2);
    expect(numbersIn(path())).toEqual([2]);
  });

  it('takes a line as a whole that is longer than a file may be', async () => {
    const file = logFile({ maxBytes: 100 });
    await writeSlowly(file, [1, 2], 'x'.repeat(500));
    expect(inAll()).toEqual([1, 2]);
    expect(names()).toHaveLength(2);
  });

  it('touches nothing that only looks like one of its files', async () => {
    mkdirSync(dirname(path()));
    const others = ['ferryd.log.1', 'ferryd.log.20261123', 'ferryd.log.20200101T000000.000Z.gz', 'other.log'];
    for (const name of others) await writeFile(directory.join('log', name), line(0));
    const file = logFile({ maxBytes: 1, keep: 1 });
    await writeSlowly(file, [1, 2, 3, 4]);
    await file.close();
    expect(names()).toEqual(['ferryd.log', 'ferryd.log.20261123T120000.002Z', ...others].sort());
  });

  it('goes by the settings of now', async () => {
    const file = logFile();
    await writeSlowly(file, [1, 2]);
    file.configure(settings({ maxBytes: 1 }));
    await writeSlowly(file, [3]);
    expect(numbersIn(path())).toEqual([3]);
  });

  it('shared by two: each notices what the other has put aside', async () => {
    const length = line(10).length;
    const one = logFile({ maxBytes: 5 * length, keep: 50 });
    const other = logFile({ maxBytes: 5 * length, keep: 50 });
    for (const n of range(10, 39)) await writeSlowly(n % 2 === 0 ? one : other, [n]);
    expect(inAll()).toEqual(range(10, 39));
    expect(names()).toHaveLength(6);
  });
});

describe('a file that cannot be written', () => {
  const inTheWay = (): string => mkdirSync(path(), { recursive: true }) ?? '';

  it('is told once, and nothing is lost when it can be written again', async () => {
    inTheWay();
    const file = logFile();
    for (const n of range(1, 20)) {
      file.write(line(n));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await vi.waitFor(() => expect(told).toHaveLength(1), { interval: 1 });
    expect(told[0]).toBe(
      `The log file ${path()} cannot be written: what stands there is not a regular file. The log goes on on standard error; the file is tried again every 0.01 s.`,
    );
    rmdirSync(path());
    // No further line is needed for that.
    await vi.waitFor(() => expect(told).toHaveLength(2), { interval: 1 });
    expect(told[1]).toBe(`The log file ${path()} is written again. No line is missing in it.`);
    file.write(line(21));
    await file.close();
    expect(numbersIn(path())).toEqual(range(1, 21));
    expect(told).toHaveLength(2);
  });

  it('keeps a bounded backlog, drops what comes then, and says in the file how much is missing there', async () => {
    inTheWay();
    const file = logFile({ maxBytes: 100_000_000 });
    for (const n of range(1, 3_000)) file.write(line(n, 'x'.repeat(1_000)));
    await vi.waitFor(() => expect(told).toHaveLength(1), { interval: 1 });
    rmdirSync(path());
    await vi.waitFor(() => expect(told).toHaveLength(2), { interval: 1 });
    file.write(line(3_001));
    await file.close();
    const records = readFileSync(path(), 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((one) => JSON.parse(one));
    const at = records.findIndex(({ dropped }) => dropped !== undefined);
    expect(records.slice(0, at).map(({ n }) => n)).toEqual(range(1, at));
    expect(records.slice(at + 1).map(({ n }) => n)).toEqual([3_001]);
    expect(at + records[at].dropped).toBe(3_000);
    expect(statSync(path()).size).toBeLessThan(1_100_000);
    expect(told[1]).toBe(
      `The log file ${path()} is written again. ${records[at].dropped} lines are missing in it.`,
    );
  });

  it('is tried at once after a reload', async () => {
    inTheWay();
    const file = logFile({}, 3_600_000);
    file.write(line(1));
    await vi.waitFor(() => expect(told).toHaveLength(1), { interval: 1 });
    rmdirSync(path());
    file.configure(settings());
    await vi.waitFor(() => expect(told).toHaveLength(2), { interval: 1 });
    expect(numbersIn(path())).toEqual([1]);
  });

  it('does not keep the close', async () => {
    inTheWay();
    const file = logFile({}, 3_600_000);
    file.write(line(1));
    await file.close();
    expect(told).toHaveLength(1);
  });

  it('because a part of its path is a file', async () => {
    await writeFile(directory.join('log'), '');
    const file = logFile();
    file.write(line(1));
    await file.close();
    expect(told).toEqual([expect.stringContaining('a part of its path is not a directory (ENOTDIR)')]);
  });
});

describeMounted('a disk that is full', () => {
  it('breaks off no line, and goes on where it was', async () => {
    mkdirSync(dirname(path()));
    using _disk = mounted('tmpfs', dirname(path()), 64 * 1024);
    await writeFile(directory.join('log', 'ballast'), Buffer.alloc(40 * 1024));
    const file = logFile();
    for (const n of range(1, 40)) {
      file.write(line(n, 'x'.repeat(900)));
      if (n % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await vi.waitFor(() => expect(told).toHaveLength(1), { interval: 1 });
    expect(told[0]).toContain('its disk is full (ENOSPC)');
    const kept = numbersIn(path());
    expect(kept).toEqual(range(1, kept.length));
    expect(kept.length).toBeLessThan(40);
    rmSync(directory.join('log', 'ballast'));
    await vi.waitFor(() => expect(told).toHaveLength(2), { interval: 1 });
    await file.close();
    expect(numbersIn(path())).toEqual(range(1, 40));
  });
});
