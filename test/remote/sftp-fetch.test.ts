/* Downloads over SFTP: what they cost, files that change or go meanwhile; and listings that say too little or too much. */
import { randomBytes } from 'node:crypto';
import { appendFileSync, rmSync } from 'node:fs';
import { mkdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Digest } from '../../src/plan/digest.js';
import { judge } from '../../src/remote/failure.js';
import { deliveryOf, fetched, sha256, sourceOf } from './contract.js';
import { SftpBerth } from './sftp-berth.js';

async function failureOf(work: Promise<unknown>): Promise<ReturnType<typeof judge>> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  );
  return judge(error);
}

async function berthWith(
  files: Readonly<Record<string, string | Buffer>>,
  options: Parameters<typeof SftpBerth.open>[0] = {},
): Promise<SftpBerth> {
  const berth = await SftpBerth.open({ account: { connections: 1 }, ...options });
  for (const [name, content] of Object.entries(files)) await writeFile(join(berth.disk, name), content);
  await berth.remote.stat('nothing');
  return berth;
}

describe('fetch', () => {
  test('a small file is looked at and opened in one flight, and looked at again when it is closed', async () => {
    await using berth = await berthWith({ file: 'content' });
    const from = berth.server.journal.requests.length;
    expect(String(await fetched(berth.remote, 'file'))).toBe('content');
    const asked = berth.server.journal.requests.slice(from);
    expect(asked.slice(0, 2).map(({ name }) => name)).toEqual(['LSTAT', 'OPEN']);
    expect(asked[0]?.packet).toBe(asked[1]?.packet);
    expect(asked.slice(-2).map(({ name }) => name)).toEqual(['FSTAT', 'CLOSE']);
    expect(asked.at(-1)?.packet).toBe(asked.at(-2)?.packet);
    // Three round trips, four where the end of the file is asked for by itself.
    expect(new Set(asked.map(({ packet }) => packet)).size).toBeLessThanOrEqual(4);
  });

  test.each([
    ['longer', (path: string) => appendFileSync(path, 'more')],
    ['another, of the same size', (path: string) => rewritten(path)],
  ])('a file that gets %s while it is read is not taken for whole', async (_what, change) => {
    const content = randomBytes(2_000_000);
    await using berth = await berthWith({ file: content });
    await utimes(join(berth.disk, 'file'), 1_000, 1_000);
    let changed = false;
    const sink = async (): Promise<void> => {
      if (changed) return;
      changed = true;
      await change(join(berth.disk, 'file'));
    };
    const failure = await failureOf(berth.remote.fetch('file', sink));
    expect(failure).toMatchObject({ decision: 'retry', kind: 'verification' });
  });

  test('a file that goes before it is opened is gone; one that is listed still is not', async () => {
    await using berth = await berthWith({ file: 'x', other: 'y' });
    rmSync(join(berth.disk, 'file'));
    expect((await failureOf(berth.remote.fetch('file', async () => {}))).decision).toBe('gone');
    for (const on of ['LSTAT', 'OPEN'])
      berth.server.script({ on, path: '**/other', do: { kind: 'status', code: 2 } });
    expect((await failureOf(berth.remote.fetch('other', async () => {}))).decision).not.toBe('gone');
  });

  test('a link is not followed, a directory not read', async () => {
    await using berth = await berthWith({ file: 'precious' });
    await symlink('file', join(berth.disk, 'link'));
    await mkdir(join(berth.disk, 'sub'));
    for (const path of ['link', 'sub']) {
      const failure = await failureOf(berth.remote.fetch(path, async () => {}));
      expect(failure.decision).toBe('skip');
      expect(failure.message).toContain('no regular file');
    }
  });

  test.each([
    ['short', { kind: 'shortRead', bytes: 1_000 }],
    ['in pieces', { kind: 'split', everyBytes: 7 }],
  ] as const)('reads that come %s', async (_how, fault) => {
    const content = randomBytes(50_000);
    await using berth = await berthWith({ file: content });
    berth.server.script({ on: 'READ', nth: 'every', do: fault });
    expect(sha256(await fetched(berth.remote, 'file'))).toBe(sha256(content));
  });

  test('a server that never comes to an end is stopped', async () => {
    await using berth = await berthWith({ file: 'content' });
    berth.server.script({ on: 'READ', nth: 'every', do: { kind: 'endlessRead' } });
    let bytes = 0;
    const sink = async (chunk: Buffer): Promise<void> => {
      bytes += chunk.length;
    };
    await expect(berth.remote.fetch('file', sink)).rejects.toThrow();
    expect(bytes).toBeLessThan(100_000_000);
  });

  test('verify hash without check-file: it is read once more', async () => {
    await using berth = await berthWith({ file: 'content' }, { account: { connections: 1, verify: 'hash' } });
    const asked: Digest[] = [];
    const holds = async (digest: Digest): Promise<boolean> => {
      asked.push(digest);
      return digest.hex === sha256('content');
    };
    await berth.remote.fetch('file', async () => {}, { holds });
    expect(asked).toEqual([{ algorithm: 'SHA-256', hex: sha256('content') }]);
    expect(berth.server.journal.sentBytes).toBe(14);
  });

  test('check-file: the hash is compared, and no byte is read again', async () => {
    await using berth = await berthWith(
      { file: 'content' },
      { server: { extensions: { 'check-file': true } } },
    );
    const asked: Digest[] = [];
    const holds = async (digest: Digest): Promise<boolean> => {
      asked.push(digest);
      return true;
    };
    await berth.remote.fetch('file', async () => {}, { holds });
    expect(asked).toEqual([{ algorithm: 'SHA-256', hex: sha256('content') }]);
    expect(berth.server.journal.sentBytes).toBe(7);
    expect(await berth.remote.digest('file', { sizeBytes: 7 })).toEqual(asked[0]);
    expect(berth.server.journal.sentBytes).toBe(7);
  });

  test('a server that answers in another algorithm is asked so from then on', async () => {
    const options = { server: { extensions: { 'check-file': true }, digests: 'md5' } };
    await using berth = await berthWith({}, options);
    for (const path of ['a', 'b']) await berth.remote.deliver(deliveryOf(path, sourceOf(path)));
    expect(berth.server.journal.sentBytes).toBe(0);
    expect((await berth.remote.digest('a', { sizeBytes: 1 }))?.algorithm).toBe('MD5');
    expect(berth.learned).toEqual([]);
  });
});

describe('list', () => {
  test('entries without types or sizes are asked for, side by side', async () => {
    const names = Array.from({ length: 150 }, (_, place) => `file-${place}`);
    await using berth = await berthWith(Object.fromEntries(names.map((name) => [name, name])), {
      server: { listing: 'names' },
    });
    await mkdir(join(berth.disk, 'sub'));
    await symlink('nowhere', join(berth.disk, 'link'));
    const listing = await berth.remote.list('');
    expect(listing).toMatchObject({ directories: ['sub'], others: ['link'], complete: true, proven: true });
    expect(listing.files.map(({ path, sizeBytes }) => [path, sizeBytes]).sort()).toEqual(
      names.map((name) => [name, name.length]).sort(),
    );
    expect(berth.server.journal.peakWaiting).toBeGreaterThan(10);
    expect(berth.server.journal.peakWaiting).toBeLessThanOrEqual(70);
  });

  test.each([
    ['a slash', 'sub/file'],
    ['the way up', '..\0'],
    ['nothing', ''],
    ['bytes that are no text', Buffer.from([0x66, 0xe4])],
  ])('a name with %s is no file, and the listing is not complete', async (_what, name) => {
    await using berth = await berthWith({ file: 'x' });
    const attributes = { sizeBytes: 1, mode: 0o100644, accessedS: 1, modifiedS: 1 };
    berth.server.script({ on: 'READDIR', do: { kind: 'names', entries: [{ name, attributes }] } });
    const { files, complete, proven } = await berth.remote.list('');
    expect(files.map(({ path }) => path)).toEqual(['file']);
    expect([complete, proven]).toEqual([false, false]);
  });

  test('a name that comes twice is one file, and the listing is not complete', async () => {
    await using berth = await berthWith({ file: 'x' });
    const attributes = { sizeBytes: 9, mode: 0o100644, accessedS: 1, modifiedS: 1 };
    berth.server.script({ on: 'READDIR', do: { kind: 'names', entries: [{ name: 'file', attributes }] } });
    const { files, complete } = await berth.remote.list('');
    expect(files).toHaveLength(1);
    expect(complete).toBe(false);
  });

  test('a listing that breaks off is an error, never a shorter list', async () => {
    await using berth = await berthWith({ a: 'x', b: 'x', c: 'x' }, { server: { entriesPerAnswer: 1 } });
    for (const code of [3, 4]) {
      const rule = berth.server.script({ on: 'READDIR', nth: 3, do: { kind: 'status', code } });
      await expect(berth.remote.list('')).rejects.toThrow();
      rule.remove();
    }
    expect((await berth.remote.list('')).files).toHaveLength(3);
  });

  test('a directory that may be read and not entered seems to be empty, and is not complete', async () => {
    await using berth = await berthWith({});
    await mkdir(join(berth.disk, 'sub'));
    expect(await berth.remote.list('sub')).toMatchObject({ files: [], complete: true, proven: true });
    berth.server.script({ on: 'LSTAT', path: '**/sub*', nth: 'every', do: { kind: 'status', code: 3 } });
    expect(await berth.remote.list('sub')).toMatchObject({ files: [], complete: false, proven: false });
  });

  test('an entry that goes while it is asked for is left out; one that may not be looked at makes it incomplete', async () => {
    await using berth = await berthWith({ gone: 'x', kept: 'x' }, { server: { listing: 'names' } });
    berth.server.script({ on: 'LSTAT', path: '**/gone', do: { kind: 'status', code: 2 } });
    const first = await berth.remote.list('');
    expect([first.files.map(({ path }) => path), first.complete]).toEqual([['kept'], true]);
    berth.server.script({ on: 'LSTAT', path: '**/gone', nth: 1, do: { kind: 'status', code: 3 } });
    const second = await berth.remote.list('');
    expect([second.files.map(({ path }) => path), second.complete]).toEqual([['kept'], false]);
  });
});

describe('a status that means anything (FAILURE)', () => {
  test('is looked into: what is gone is removed, what is there is made', async () => {
    await using berth = await berthWith({ file: 'x' });
    const failing = (on: string): void => {
      berth.server.script({ on, nth: 'every', do: { kind: 'status', code: 4 } });
    };
    for (const on of ['REMOVE', 'RMDIR', 'MKDIR']) failing(on);
    await berth.remote.remove('never');
    expect(await berth.remote.removeDirectory('never')).toBe('removed');
    await mkdir(join(berth.disk, 'sub/below'), { recursive: true });
    await berth.remote.makeDirectory('sub');
    expect(await berth.remote.removeDirectory('sub')).toBe('not-empty');
    await expect(berth.remote.remove('file')).rejects.toThrow();
    await expect(berth.remote.removeDirectory('sub/below')).rejects.toThrow();
    await expect(berth.remote.makeDirectory('other')).rejects.toThrow();
  });

  test('of a look is settled by a listing', async () => {
    await using berth = await berthWith({ file: 'content' });
    berth.server.script({ on: 'LSTAT', nth: 'every', do: { kind: 'status', code: 4 } });
    expect((await berth.remote.stat('file'))?.sizeBytes).toBe(7);
    expect(await berth.remote.stat('nothing')).toBeUndefined();
    expect(await berth.remote.stat('no/where')).toBeUndefined();
  });
});

test('many operations share one session; one that is broken off leaves the others alone', async () => {
  await using berth = await berthWith({ file: randomBytes(3_000_000) });
  const controller = new AbortController();
  const reason = new Error('enough');
  const broken = berth.remote.fetch('file', async () => controller.abort(reason), {
    signal: controller.signal,
  });
  const others = Array.from({ length: 10 }, (_, place) =>
    berth.remote.deliver(deliveryOf(`new-${place}`, sourceOf(randomBytes(100_000)))),
  );
  await expect(broken).rejects.toThrow();
  await Promise.all(others);
  expect(berth.server.journal.connections).toBe(1);
});

async function rewritten(path: string): Promise<void> {
  await writeFile(path, randomBytes(2_000_000));
}
