/*
 * Contents that arrive otherwise than they were sent, under answers that are all in order: bytes that are lost, turned
 * or made up, an end too early or never, sizes that are not so, a disk that is full. Nothing of it passes for whole.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isTemporary } from '../../../src/plan/temporary.js';
import type { Failure } from '../../../src/remote/decision.js';
import { judge } from '../../../src/remote/failure.js';
import type { Fault, Rule } from '../../support/sftp-server/fault.js';
import { deliveryOf, fetched, sourceOf } from '../contract.js';
import { SftpBerth, type SftpBerthOptions } from '../sftp-berth.js';

const CONTENT = randomBytes(700_000);
const HASHES: SftpBerthOptions = { server: { extensions: { 'check-file': true } } };
const QUICK = { connectMs: 5_000, replyMs: 2_000, stallMs: 2_000, transferMs: 60_000 };

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  return judge(
    await work.then(
      () => new Error('It did not fail'),
      (error: unknown) => error,
    ),
  );
}

/** Delivers over an old file with one fault: the failure. Then once more without it. */
async function delivering(rules: Rule | readonly Rule[], options: SftpBerthOptions = {}): Promise<Failure> {
  await using berth = await SftpBerth.open(options);
  const file = join(berth.disk, 'file');
  await writeFile(file, 'old');
  await berth.remote.stat('file');
  for (const rule of [rules].flat()) berth.server.script(rule);
  const delivery = deliveryOf('file', sourceOf(CONTENT));
  const failure = await failureOf(berth.remote.deliver(delivery));
  expect(await readFile(file, 'latin1'), failure.message).toBe('old');
  berth.server.behave();
  await berth.remote.deliver({ ...delivery, part: 'possible' });
  expect((await readFile(file)).equals(CONTENT)).toBe(true);
  expect((await readdir(berth.disk)).filter((name) => !isTemporary(name))).toEqual(['file']);
  return failure;
}

async function fetching(rule: Rule, options: SftpBerthOptions = {}): Promise<Failure | 'done'> {
  await using berth = await SftpBerth.open(options);
  await writeFile(join(berth.disk, 'file'), CONTENT);
  await berth.remote.stat('file');
  berth.server.script(rule);
  const outcome = await fetched(berth.remote, 'file').then(
    (content) => {
      expect(content.equals(CONTENT)).toBe(true);
      return 'done' as const;
    },
    (error: unknown) => judge(error),
  );
  berth.server.behave();
  expect((await fetched(berth.remote, 'file')).equals(CONTENT)).toBe(true);
  return outcome;
}

describe('deliver', () => {
  const lie = (addBytes: number, on: string): Rule => ({
    on,
    path: '*.part',
    nth: 'every',
    do: { kind: 'attributes', changes: { sizeBytes: CONTENT.length + addBytes } },
  });

  test.each<[string, readonly Rule[]]>([
    ['nothing is kept', [{ on: 'WRITE', nth: 'every', do: { kind: 'shortWrite', bytes: 0 } }]],
    ['the size is told as one byte less', ['FSTAT', 'LSTAT', 'STAT'].map((on) => lie(-1, on))],
    ['the size is told as one byte more', ['FSTAT', 'LSTAT', 'STAT'].map((on) => lie(1, on))],
  ])('%s: it is not published', async (_what, rules) => {
    expect(await delivering(rules)).toMatchObject({
      decision: 'retry',
      kind: 'verification',
      code: 'mismatch',
    });
  });

  test('the end of the file is lost: it is not published', async () => {
    await using berth = await SftpBerth.open({ server: { limits: { maxWriteBytes: 100_000 } } });
    const rule: Rule = { on: 'WRITE', nth: 'every', do: { kind: 'shortWrite', bytes: 10 } };
    berth.server.script(rule);
    const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf(CONTENT))));
    expect(failure).toMatchObject({ decision: 'retry', code: 'mismatch' });
    expect((await readdir(berth.disk)).filter((name) => !isTemporary(name))).toEqual([]);
  });

  test('a byte is turned on its way to the disk: the server’s hash tells', async () => {
    const rule: Rule = { on: 'WRITE', nth: 'every', do: { kind: 'corrupt', atByte: 300_000 } };
    const failure = await delivering(rule, HASHES);
    expect(failure).toMatchObject({ decision: 'retry', kind: 'verification', code: 'mismatch' });
  });

  test('a byte is turned, and there is no hash: verify: hash reads it back', async () => {
    const rule: Rule = { on: 'WRITE', nth: 'every', do: { kind: 'corrupt', atByte: 300_000 } };
    const failure = await delivering(rule, { account: { verify: 'hash' } });
    expect(failure).toMatchObject({ decision: 'retry', kind: 'verification', code: 'mismatch' });
  });

  test.each([4, 14, 15] as const)('the disk is full, said by %i: uploads wait', async (fullStatus) => {
    await using berth = await SftpBerth.open({ server: { capacityBytes: 300_000, fullStatus } });
    const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf(CONTENT))));
    expect(failure.decision, failure.message).toBe('hold');
    expect((await readdir(berth.disk)).filter((name) => !isTemporary(name))).toEqual([]);
    // What is small still fits, once there is room.
    await berth.remote.deliver(deliveryOf('small', sourceOf('small')));
  });

  test('new keys are agreed on in the middle, as often as one likes', async () => {
    await using berth = await SftpBerth.open();
    berth.server.script({ on: 'WRITE', nth: 'every', do: { kind: 'rekey' } });
    const large = randomBytes(3_000_000);
    await berth.remote.deliver(deliveryOf('file', sourceOf(large)));
    expect((await readFile(join(berth.disk, 'file'))).equals(large)).toBe(true);
    expect((await fetched(berth.remote, 'file')).equals(large)).toBe(true);
    expect(berth.server.journal.rekeys).toBeGreaterThan(0);
    expect(berth.server.journal.connections).toBe(1);
  });

  test('no more is written once a write has failed', async () => {
    await using berth = await SftpBerth.open();
    berth.server.script({ on: 'WRITE', nth: 2, times: 1_000, do: { kind: 'status', code: 4 } });
    const failure = await failureOf(
      berth.remote.deliver(deliveryOf('file', sourceOf(randomBytes(20_000_000)))),
    );
    expect(failure).toMatchObject({ decision: 'skip', code: 'FAILURE' });
    const bytes = berth.server.journal.of('WRITE').reduce((sum, write) => sum + (write.bytes ?? 0), 0);
    expect(bytes).toBeLessThan(10_000_000);
  });
});

describe('fetch', () => {
  test.each<[string, Fault, Partial<Rule>]>([
    ['the end comes too early', { kind: 'status', code: 1 }, { nth: 2 }],
    ['data behind the end', { kind: 'status', code: 1 }, { nth: 1 }],
    ['a piece is longer than it was asked for', { kind: 'longRead', addBytes: 5 }, { nth: 2 }],
    ['a piece with nothing in it', { kind: 'shortRead', bytes: 0 }, { nth: 2 }],
    ['nothing but pieces with nothing in them', { kind: 'shortRead', bytes: 0 }, { nth: 'every' }],
    ['it never ends', { kind: 'endlessRead' }, { nth: 'every' }],
  ])('%s: whole, or not at all', async (_what, fault, which) => {
    const outcome = await fetching({ on: 'READ', ...which, do: fault }, { account: { timeouts: QUICK } });
    if (outcome === 'done') return;
    expect(['retry', 'reconnect'], outcome.message).toContain(outcome.decision);
  });

  test('short pieces, as long as they bring something, are pieces', async () => {
    expect(await fetching({ on: 'READ', nth: 'every', do: { kind: 'shortRead', bytes: 7_001 } })).toBe(
      'done',
    );
  });

  test('a byte is turned on its way: the server’s hash tells', async () => {
    await using berth = await SftpBerth.open(HASHES);
    await writeFile(join(berth.disk, 'file'), CONTENT);
    berth.server.script({ on: 'READ', nth: 1, do: { kind: 'corrupt', atByte: 5 } });
    const chunks: Buffer[] = [];
    const holds = async ({ hex }: { readonly hex: string }): Promise<boolean> => {
      return createHash('sha256').update(Buffer.concat(chunks)).digest('hex') === hex;
    };
    const work = berth.remote.fetch('file', async (chunk) => void chunks.push(Buffer.from(chunk)), { holds });
    const failure = await failureOf(work);
    expect(failure).toMatchObject({ decision: 'retry', kind: 'verification', code: 'mismatch' });
  });

  test.each([-1, 1, 100_000])('the size is told with %i bytes too many', async (add) => {
    const changes = { sizeBytes: CONTENT.length + add };
    const outcome = await fetching({
      on: 'LSTAT',
      nth: 'every',
      do: { kind: 'attributes', changes },
    });
    expect(outcome === 'done' ? 'retry' : outcome.decision).toBe('retry');
  });
});
