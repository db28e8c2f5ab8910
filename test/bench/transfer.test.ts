/* The parts of the benchmark: its figures are of no use where medians, ratios or trees are wrong. And a very small run. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describeReal } from '../support/real-server.js';
import { temporaryDirectory } from '../support/temporary.js';
import { type Achievement, allFeats, lineOf } from './alone.js';
import { allCases, type Case, chosen } from './cases.js';
import { expectedS } from './expected.js';
import { lastWords, measure } from './measure.js';
import { type Results, summaryOf } from './summary.js';
import { type Entry, median, sentenceOf, standing, tableOf } from './table.js';
import { makeOneFile, makeSmallFiles, SMALL, smallFiles } from './trees.js';
import { compareTrees, snapshot, touched } from './verify.js';

const SIZES = { files: 1000, bytes: 2 * 1024 ** 3 };
const pushPlain = caseOf('push-small-plain');
const pushOne = caseOf('push-one-plain');

function caseOf(name: string): Case {
  const found = allCases(SIZES).find((one) => one.name === name);
  if (found === undefined) throw new Error(`${name} is always there`);
  return found;
}

function entry(name: string, role: Entry['role'], walls: readonly number[], trouble?: string): Entry {
  const rounds = walls.map((wallS, round) => ({
    measured: { ended: '0', wallS, cpuS: wallS / 2, serverCpuS: wallS / 4, peakMiB: 64, words: '' },
    trouble: round === 0 ? trouble : undefined,
  }));
  return { name, role, rounds };
}

describe('figures', () => {
  test.each([
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[10, 9], 9.5],
    [[7], 7],
  ])('the median of %j is %d', (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  test('the fastest peer is the fastest that delivers every byte in every round', () => {
    const one = standing(pushPlain, [
      entry('ferryd', 'ferryd', [2, 2.2, 1.8]),
      entry('hasty', 'peer', [0.5, 0.5, 0.5], '3 missing (d0001/a: missing)'),
      entry('slow', 'peer', [9, 8, 7]),
      entry('brisk', 'peer', [3, 2.8, 3.2]),
      entry('wire', 'yardstick', [0.1, 0.1, 0.1]),
    ]);
    expect(one).toMatchObject({ fastest: 'brisk', ratio: 1.5, verdict: 'met' });
    const table = tableOf(one);
    expect(table).toContain('### push-small-plain: 1,000 files');
    expect(table).toContain('ferryd is 1.50 times as fast as brisk; at least 1: met.');
    expect(table).toContain(
      '| hasty | 0.50 | 0.50-0.50 | 0.25 | 0.13 | 64 | 0.25 x | 1 of 3: 3 missing (d0001/a: missing) |',
    );
    expect(table).toContain('| slow | 8.00 | 7.00-9.00 | 4.00 | 2.00 | 64 | 4.00 x |  |');
  });

  test('a target is met or it is not, and a run that fails meets none', () => {
    const peer = entry('brisk', 'peer', [1]);
    expect(standing(pushPlain, [entry('ferryd', 'ferryd', [1.1]), peer]).verdict).toBe('behind');
    expect(standing(pushPlain, [entry('ferryd', 'ferryd', [0.5], '1 wrong'), peer]).verdict).toBe('failed');
    expect(standing(pushPlain, [peer]).verdict).toBe('failed');
    expect(standing(pushPlain, [entry('ferryd', 'ferryd', [1])]).verdict).toBe('alone');
  });

  test('one large file is measured against the yardstick as well', () => {
    const taking = (wallS: number) =>
      standing(pushOne, [
        entry('ferryd', 'ferryd', [wallS]),
        entry('brisk', 'peer', [2]),
        entry('wire', 'yardstick', [1]),
      ]);
    expect(taking(1.2)).toMatchObject({ verdict: 'met', toYardstick: 1.2 });
    expect(taking(1.4)).toMatchObject({ verdict: 'behind', toYardstick: 1.4 });
    expect(sentenceOf(taking(1.4))).toContain('takes 1.40 times as long as wire; at most 1.3');
  });
});

describe('a whole run', () => {
  const achievement: Achievement = {
    ...{ name: 'memory-one', what: 'peak', unit: 'MiB', limit: 120, figure: 99.6, values: [99.6] },
    ...{ note: 'plain 99.6 MiB.', verdict: 'met' },
  };

  test('is one row a case: the fastest peer is marked, who fails is explained, who was stopped is not', () => {
    const stopped = entry('tardy', 'peer', [8], 'stopped after 8 s');
    const results: Results = {
      machine: ['2026-01-01', '2 x CPU'],
      standings: [
        standing(pushPlain, [
          entry('ferryd', 'ferryd', [2]),
          entry('brisk', 'peer', [3]),
          entry('hasty', 'peer', [1], '3 missing'),
          {
            ...stopped,
            rounds: stopped.rounds.map((round) => ({
              ...round,
              measured: { ...round.measured, ended: 'timeout' },
            })),
          },
        ]),
      ],
      alone: [achievement],
      failures: [{ name: 'push-one-tls', sentence: 'push-one-tls could not be played: no server.' }],
    };
    expect(summaryOf(results).split('\n')).toEqual([
      '2026-01-01; 2 x CPU.',
      '',
      '| case | ferryd | brisk | hasty | tardy | faster | at least |  | CPU | server | MiB |',
      '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
      '| push-small-plain | 2.00 | **3.00** | fails | over 8.00 | 1.50 | 1 | met | 1.0 | 0.5 | 64 |',
      '',
      '| ferryd alone |  | is | at most |  |',
      '| --- | --- | --- | --- | --- |',
      '| memory-one | peak. plain 99.6 MiB. | 100 MiB | 120 MiB | met |',
      '',
      '- push-small-plain, hasty: 1 of 1 rounds, 3 missing',
      '',
      '- push-one-tls could not be played: no server.',
    ]);
  });

  test('what ferryd does alone has a line', () => {
    expect(lineOf(achievement)).toBe('peak: 100 MiB, at most 120 MiB: met. plain 99.6 MiB.');
  });

  test('an expectation is never nothing', () => {
    for (const one of allCases(SIZES)) expect(expectedS(one.name, one, 1)).toBeGreaterThan(0);
    for (const { name, scene } of allFeats(SIZES)) expect(expectedS(name, scene, 1)).toBeGreaterThan(0);
  });
});

describeReal('vsftpd', 'the program', () => {
  test('plays a case, keeps it as JSON, and makes a table of that', async () => {
    await using directory = await temporaryDirectory('bench-run');
    const json = directory.join('bench.json');
    const program = resolve(import.meta.dirname, '../../build/test/bench/transfer.js');
    const words = ['--cases', 'push-small-plain,unchanged-many-plain', '--files', '5', '--rounds', '1'];
    execFileSync(process.execPath, [program, ...words, '--only', 'ferryd', '--json', json], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    const { standings, failures } = JSON.parse(readFileSync(json, 'utf8')) as Results;
    expect(failures).toEqual([]);
    expect(standings.map(({ case: { name }, verdict }) => `${name} ${verdict}`)).toEqual([
      'push-small-plain alone',
      'unchanged-many-plain alone',
    ]);
    const table = execFileSync(process.execPath, [program, '--table', json], { encoding: 'utf8' });
    expect(table).toMatch(/^\| push-small-plain \| \d+\.\d+ \|/m);
  });

  test('says which cases there are where a word is in no name', () => {
    const program = resolve(import.meta.dirname, '../../build/test/bench/transfer.js');
    const { status, stderr } = spawnSync(process.execPath, [program, '--cases', 'sfpt'], {
      encoding: 'utf8',
    });
    expect(status).toBe(2);
    expect(stderr).toMatch(/^No case is called "sfpt"; there are push-small-plain, .*status-start\n$/);
  });
});

test('cases are chosen by parts of their names', () => {
  const cases = allCases(SIZES);
  expect(chosen(cases, ['one-tls']).map(({ name }) => name)).toEqual(['push-one-tls', 'pull-one-tls']);
  expect(chosen(cases, [])).toHaveLength(cases.length);
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  expect(cases.find(({ name }) => name === 'unchanged-many-sftp')).toMatchObject({
    files: 10_000,
    target: 2,
  });
  expect(cases.find(({ name }) => name === 'lossy-small-tls-8')).toMatchObject({
    files: 100,
    where: 'lossy',
  });
});

describe('trees', () => {
  test('the same seed makes the same tree, another one another', async () => {
    await using directory = await temporaryDirectory('bench-trees');
    for (const [name, seed] of [
      ['one', 1],
      ['same', 1],
      ['other', 2],
    ] as const)
      makeSmallFiles(directory.join(name), 120, seed);
    const nothing = { missing: 0, wrong: 0, extra: 0, example: undefined };
    expect(compareTrees(directory.join('one'), directory.join('same'))).toEqual(nothing);
    expect(compareTrees(directory.join('one'), directory.join('other')).example).toBeDefined();
    for (const { path, sizeBytes, modifiedS } of smallFiles(120, 1)) {
      expect(sizeBytes).toBeGreaterThanOrEqual(SMALL.minBytes);
      expect(sizeBytes).toBeLessThanOrEqual(SMALL.maxBytes);
      const { size, mtimeMs } = statSync(join(directory.join('one'), path));
      expect({ size, mtimeMs }).toEqual({ size: sizeBytes, mtimeMs: modifiedS * 1000 });
    }
  });

  test('one file has its size to the byte, also where that is no whole block', async () => {
    await using directory = await temporaryDirectory('bench-one');
    makeOneFile(directory.join('a'), 1024 * 1024 + 1, 1);
    const content = readFileSync(directory.join('a'));
    expect(content).toHaveLength(1024 * 1024 + 1);
    expect(content.subarray(0, 16).equals(Buffer.alloc(16))).toBe(false);
  });
});

describe('verification', () => {
  test('each way to lose a byte is seen', async () => {
    await using directory = await temporaryDirectory('bench-verify');
    const [source, arrived] = [directory.join('source'), directory.join('arrived')];
    for (const root of [source, arrived]) mkdirSync(root);
    for (const name of ['same', 'short', 'wrong', 'gone']) writeFileSync(join(source, name), 'content');
    writeFileSync(join(arrived, 'same'), 'content');
    writeFileSync(join(arrived, 'short'), 'conten');
    writeFileSync(join(arrived, 'wrong'), 'cOntent');
    writeFileSync(join(arrived, 'left.part'), 'con');
    expect(compareTrees(source, arrived)).toMatchObject({ missing: 2, wrong: 1, extra: 1 });
    expect(compareTrees(source, directory.join('nowhere'))).toMatchObject({ missing: 4, wrong: 0, extra: 0 });
  });

  test('a file that is written anew with the same content has been touched', async () => {
    await using directory = await temporaryDirectory('bench-snapshot');
    for (const name of ['a', 'b']) writeFileSync(directory.join(name), 'content');
    const before = snapshot(directory.path);
    expect(touched(before, snapshot(directory.path))).toBe(0);
    // Another size, for two writes may fall into one tick of the file system's clock.
    writeFileSync(directory.join('b'), 'content!');
    writeFileSync(directory.join('c'), '');
    expect(touched(before, snapshot(directory.path))).toBe(2);
  });
});

function stateOf(pid: string): string {
  try {
    return /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? '';
  } catch {
    return '';
  }
}

describe('measuring', () => {
  test('CPU and memory of grandchildren count', async () => {
    await using directory = await temporaryDirectory('bench-measure');
    const burn =
      'const b = Buffer.alloc(96e6, 1); const t = Date.now(); while (Date.now() - t < 150) b[0] ^= 1';
    const measured = await measure(
      {
        command: ['sh', '-c', '"$0" -e "$1"; echo over >&2; exit 3', process.execPath, burn],
        env: process.env,
        directory: directory.path,
      },
      { log: directory.join('log'), timeoutMs: 20_000 },
    );
    expect(measured).toMatchObject({ ended: '3', words: 'over' });
    expect(measured.wallS).toBeGreaterThan(0.15);
    expect(measured.cpuS).toBeGreaterThan(0.05);
    expect(measured.peakMiB).toBeGreaterThan(96e6 / 1024 ** 2);
  });

  test('what takes too long is ended, with what it has started', async () => {
    await using directory = await temporaryDirectory('bench-timeout');
    const measured = await measure(
      {
        command: ['sh', '-c', 'sleep 60 & echo $! >sleeper; wait'],
        env: process.env,
        directory: directory.path,
      },
      { log: directory.join('log'), timeoutMs: 300 },
    );
    expect(measured.ended).toBe('timeout');
    expect(measured.wallS).toBeLessThan(20);
    const sleeper = readFileSync(directory.join('sleeper'), 'utf8').trim();
    // Gone, or dead and not waited for yet by whoever inherits it.
    await expect.poll(() => stateOf(sleeper)).toMatch(/^[ZX]?$/);
  });

  test('last words are one line, which fits into a cell of a table', () => {
    expect(lastWords('one\n\ntwo\r\nthree | four\nthree | four\n')).toBe('one / two / three / four');
    expect(lastWords('x'.repeat(5000)).length).toBeLessThan(500);
  });
});
