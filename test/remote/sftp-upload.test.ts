/* What a file costs on its way over SFTP, in which order it happens, and what becomes of a part, a leftover, a full disk. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { judge } from '../../src/remote/failure.js';
import type { Delivery } from '../../src/remote/remote.js';
import type { JournalRequest } from '../support/sftp-server/journal.js';
import { deliveryOf, sha256, someTimeMs, sourceOf } from './contract.js';
import { SftpBerth } from './sftp-berth.js';

const WARM = 'warm';
/** What makes a server one that is known to do one thing after the other. */
const SERIAL = { otherExtensions: { 'expand-path@openssh.com': '1' } };

/** A berth with a session that stands, and what was asked from now on, one array for each flight. */
async function warm(
  options: Parameters<typeof SftpBerth.open>[0] = {},
): Promise<{ readonly berth: SftpBerth; readonly flights: () => string[][] }> {
  const server = { software: 'OpenSSH_9.2p1', ...options?.server };
  const berth = await SftpBerth.open({ account: { connections: 1 }, ...options, server });
  await berth.remote.deliver(deliveryOf(WARM, sourceOf('x')));
  const from = berth.server.journal.requests.length;
  return { berth, flights: () => flightsOf(berth.server.journal.requests.slice(from)) };
}

/** The names of requests, those of one write together. */
function flightsOf(requests: readonly JournalRequest[]): string[][] {
  const flights: { readonly packet: number; readonly names: string[] }[] = [];
  for (const { packet, name } of requests) {
    const last = flights.at(-1);
    if (last?.packet === packet) last.names.push(name);
    else flights.push({ packet, names: [name] });
  }
  return flights.map(({ names }) => names);
}

describe('round trips', () => {
  test('a small file takes four, and is renamed only when all else is answered', async () => {
    const { berth, flights } = await warm();
    await using _ = berth;
    await berth.remote.deliver({ ...deliveryOf('file', sourceOf('content')), permissions: 0o640 });
    expect(flights()).toEqual([
      ['OPEN'],
      ['WRITE'],
      ['FSETSTAT', 'FSETSTAT', 'fsync@openssh.com', 'FSTAT', 'CLOSE'],
      ['posix-rename@openssh.com'],
    ]);
  });

  test('a small file takes three where the server does one thing after the other', async () => {
    const { berth, flights } = await warm({ server: SERIAL });
    await using _ = berth;
    await berth.remote.deliver({ ...deliveryOf('file', sourceOf('content')), permissions: 0o640 });
    await berth.remote.deliver(deliveryOf('empty', sourceOf('')));
    expect(flights()).toEqual([
      ['OPEN'],
      ['WRITE', 'FSETSTAT', 'FSETSTAT', 'fsync@openssh.com', 'FSTAT', 'CLOSE'],
      ['posix-rename@openssh.com'],
      ['OPEN'],
      ['FSETSTAT', 'fsync@openssh.com', 'FSTAT', 'CLOSE'],
      ['posix-rename@openssh.com'],
    ]);
  });

  test('a large file is closed only when all of it is there', async () => {
    const { berth, flights } = await warm({ server: SERIAL });
    await using _ = berth;
    await berth.remote.deliver(deliveryOf('file', sourceOf(randomBytes(1024 * 1024 + 1))));
    expect(flights().slice(-2)).toEqual([
      ['FSETSTAT', 'fsync@openssh.com', 'FSTAT', 'CLOSE'],
      ['posix-rename@openssh.com'],
    ]);
  });

  test('a session has its limits and its directory in one, and lists a short directory in two', async () => {
    const { berth } = await warm({ server: SERIAL });
    await using _ = berth;
    const { requests } = berth.server.journal;
    expect(flightsOf(requests).slice(0, 2)).toEqual([['INIT'], ['limits@openssh.com', 'REALPATH']]);
    const from = requests.length;
    await berth.remote.list('');
    const readings = Array.from({ length: 4 }, () => 'READDIR');
    // Nobody waits for the CLOSE behind them.
    expect(flightsOf(requests.slice(from)).slice(0, 2)).toEqual([['OPENDIR'], readings]);
    expect(berth.server.journal.of('READDIR')).toHaveLength(readings.length);
  });

  test('with a hash that the server tells it is asked in the same flight', async () => {
    const { berth, flights } = await warm({ server: { extensions: { 'check-file': true } } });
    await using _ = berth;
    await berth.remote.deliver(deliveryOf('file', sourceOf('content')));
    expect(flights()).toEqual([
      ['OPEN'],
      ['WRITE'],
      ['FSETSTAT', 'fsync@openssh.com', 'FSTAT', 'CLOSE', 'check-file-name'],
      ['posix-rename@openssh.com'],
    ]);
  });

  test('a server that may write through links is asked what stands there, in the same flight', async () => {
    const { berth, flights } = await warm({ server: { software: 'Other_1.0' } });
    await using _ = berth;
    await berth.remote.deliver(deliveryOf('file', sourceOf('content')));
    expect(flights()).toEqual([
      ['OPEN'],
      ['WRITE'],
      ['FSETSTAT', 'fsync@openssh.com', 'FSTAT', 'CLOSE', 'LSTAT'],
      ['posix-rename@openssh.com'],
    ]);
    await writeFile(join(berth.disk, 'victim'), 'precious');
    await symlink('victim', join(berth.disk, 'link'));
    await berth.remote.deliver(deliveryOf('link', sourceOf('content')));
    expect(String(await readFile(join(berth.disk, 'link')))).toBe('content');
    expect(String(await readFile(join(berth.disk, 'victim')))).toBe('precious');
    // The link went before anything was renamed onto it.
    expect(berth.server.journal.of('REMOVE').map(({ path }) => path)).toEqual(['/home/ferry/dumps/link']);
  });

  test('with a place for what is replaced, a new file costs no more', async () => {
    const { berth, flights } = await warm();
    await using _ = berth;
    await berth.remote.deliver({ ...deliveryOf('file', sourceOf('content')), aside: 'trash/file' });
    expect(flights()).toEqual([
      ['OPEN'],
      ['WRITE'],
      ['FSETSTAT', 'fsync@openssh.com', 'FSTAT', 'CLOSE', 'LSTAT'],
      ['RENAME'],
    ]);
  });

  test('fifty files travel side by side in one session', async () => {
    const { berth } = await warm({ server: { delayMs: 1 } });
    await using _ = berth;
    const paths = Array.from({ length: 50 }, (__, place) => `file-${place}`);
    await Promise.all(paths.map((path) => berth.remote.deliver(deliveryOf(path, sourceOf(path)))));
    expect(berth.server.journal.sessions).toBe(1);
    expect(berth.server.journal.peakWaiting).toBeGreaterThan(20);
    for (const path of paths) expect(String(await readFile(join(berth.disk, path)))).toBe(path);
  });

  test('of a missing directory only those that were begun before it was made hear', async () => {
    const { berth } = await warm();
    await using _ = berth;
    for (let place = 0; place < 5; place += 1)
      await berth.remote.deliver(deliveryOf(`a/b/file-${place}`, sourceOf('x')));
    const { journal } = berth.server;
    expect(journal.of('OPEN')).toHaveLength(1 + 6);
    expect(journal.of('MKDIR').map(({ path }) => path?.slice('/home/ferry/dumps/'.length))).toEqual([
      'a/b',
      'a',
      'a/b',
    ]);
  });
});

describe('before the rename', () => {
  test.each([
    ...['WRITE', 'CLOSE', 'fsync@openssh.com'].map((request) => ({ request, server: {}, how: 'answered' })),
    ...['WRITE', 'CLOSE', 'fsync@openssh.com'].map((request) => ({ request, server: SERIAL, how: 'in one' })),
  ])(
    'a $request that the server refuses, with flights $how: no rename, the old file stands',
    async ({ request, server }) => {
      const { berth } = await warm({ server });
      await using _ = berth;
      await writeFile(join(berth.disk, 'file'), 'old');
      berth.server.script({ on: request, path: '**/.ferryd-*', nth: 1, do: { kind: 'status', code: 4 } });
      const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf('new content'))));
      expect(failure.decision, failure.message).toMatch(/^(skip|retry)$/);
      expect(String(await readFile(join(berth.disk, 'file')))).toBe('old');
      const renames = berth.server.journal.of('posix-rename@openssh.com');
      expect(renames.map(({ toPath }) => toPath)).toEqual([`/home/ferry/dumps/${WARM}`]);
    },
  );

  test('a size that differs: no rename', async () => {
    const { berth } = await warm();
    await using _ = berth;
    for (const on of ['FSTAT', 'LSTAT'])
      berth.server.script({ on, nth: 'every', do: { kind: 'attributes', changes: { sizeBytes: 3 } } });
    const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf('content'))));
    expect(failure).toMatchObject({ decision: 'retry', kind: 'verification' });
    expect(failure.message).toContain('with 3 bytes, and it has 7');
    expect(await readdir(berth.disk)).not.toContain('file');
  });

  test('a server that tells the size only once a file is closed is believed then', async () => {
    const { berth } = await warm();
    await using _ = berth;
    berth.server.script({
      on: 'FSTAT',
      nth: 'every',
      do: { kind: 'attributes', changes: { sizeBytes: 0 } },
    });
    await berth.remote.deliver(deliveryOf('file', sourceOf('content')));
    expect(String(await readFile(join(berth.disk, 'file')))).toBe('content');
  });

  test('other bytes than were sent: verify hash finds them by reading back, and no name is given', async () => {
    const { berth } = await warm({ account: { connections: 1, verify: 'hash' } });
    await using _ = berth;
    berth.server.script({ on: 'READ', path: '**/.ferryd-*', do: { kind: 'corrupt', atByte: 2 } });
    const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf('content'))));
    expect(failure).toMatchObject({ decision: 'retry', kind: 'verification' });
    expect(await readdir(berth.disk)).not.toContain('file');
    // And where all is well, it costs one reading.
    await berth.remote.deliver(deliveryOf('file', sourceOf('content')));
    expect(String(await readFile(join(berth.disk, 'file')))).toBe('content');
  });

  test('hashes that are wrong are found out, and are not asked for any more', async () => {
    const { berth } = await warm({ server: { extensions: { 'check-file': true } } });
    await using _ = berth;
    const wrong = createHash('sha256').update('something else').digest();
    const body = Buffer.concat([string('sha256'), wrong]);
    berth.server.script({ on: 'check-file-name', nth: 'every', do: { kind: 'packet', type: 201, body } });
    await berth.remote.deliver(deliveryOf('file', sourceOf('content')));
    expect(String(await readFile(join(berth.disk, 'file')))).toBe('content');
    expect(berth.learned.join()).toContain('wrong hashes');
    const asked = berth.server.journal.of('check-file-name').length;
    await berth.remote.deliver(deliveryOf('other', sourceOf('content')));
    expect(berth.server.journal.of('check-file-name')).toHaveLength(asked);
  });

  test('a file system without fsync is found out once', async () => {
    const { berth } = await warm();
    await using _ = berth;
    berth.server.script({ on: 'fsync@openssh.com', nth: 'every', do: { kind: 'status', code: 5 } });
    for (const path of ['a', 'b']) await berth.remote.deliver(deliveryOf(path, sourceOf(path)));
    expect(berth.server.journal.of('fsync@openssh.com')).toHaveLength(2);
    expect(berth.learned.filter((sentence) => sentence.includes('fsync'))).toHaveLength(1);
  });

  test('times and permissions that are taken by the path alone', async () => {
    const { berth } = await warm();
    await using _ = berth;
    berth.server.script({ on: 'FSETSTAT', nth: 'every', do: { kind: 'status', code: 8 } });
    for (const path of ['a', 'b']) {
      const delivered = await berth.remote.deliver({
        ...deliveryOf(path, sourceOf(path)),
        permissions: 0o604,
      });
      expect(delivered.modifiedMs).toBe(someTimeMs);
      const { mode, mtimeMs } = await stat(join(berth.disk, path));
      expect([mode & 0o777, mtimeMs]).toEqual([0o604, someTimeMs]);
    }
    expect(berth.learned).toEqual([]);
    // The second did not try the handle any more.
    expect(berth.server.journal.of('FSETSTAT')).toHaveLength(3);
  });

  test.each([
    ['before 1970', -5_000],
    ['after 2106', 2 ** 32 * 1000],
  ])('a time %s cannot travel: the file comes without it', async (_when, modifiedMs) => {
    const { berth } = await warm();
    await using _ = berth;
    const delivered = await berth.remote.deliver(deliveryOf('file', sourceOf('x', { modifiedMs })));
    expect(delivered.modifiedMs).toBeUndefined();
    expect(berth.learned).toEqual([]);
  });

  test('the last second that can travel does', async () => {
    const { berth } = await warm();
    await using _ = berth;
    const modifiedMs = (2 ** 32 - 1) * 1000;
    const { modifiedMs: held } = await berth.remote.deliver(
      deliveryOf('file', sourceOf('x', { modifiedMs })),
    );
    expect(held).toBe(modifiedMs);
    expect((await berth.remote.stat('file'))?.modifiedMs).toBe(modifiedMs);
  });
});

describe('the temporary name', () => {
  test('a link that was put there is taken away, and not written through', async () => {
    const { berth } = await warm();
    await using _ = berth;
    await writeFile(join(berth.disk, 'victim'), 'precious');
    const delivery = deliveryOf('file', sourceOf('content'));
    for (const part of ['none', 'possible'] as const) {
      await symlink('victim', join(berth.disk, delivery.temporary));
      await berth.remote.deliver({ ...delivery, part });
      expect(String(await readFile(join(berth.disk, 'victim')))).toBe('precious');
      expect(String(await readFile(join(berth.disk, 'file')))).toBe('content');
    }
  });

  test('a directory that stands there is an error, and is not harmed', async () => {
    const { berth } = await warm();
    await using _ = berth;
    const delivery = deliveryOf('file', sourceOf('content'));
    await mkdir(join(berth.disk, delivery.temporary));
    const failure = await failureOf(berth.remote.deliver(delivery));
    expect(failure.decision).toBe('skip');
    expect(failure.message).toContain(delivery.temporary);
    expect((await stat(join(berth.disk, delivery.temporary))).isDirectory()).toBe(true);
  });

  test('a leftover that may not be removed is written over', async () => {
    const { berth } = await warm();
    await using _ = berth;
    const delivery = deliveryOf('file', sourceOf('content'));
    await writeFile(join(berth.disk, delivery.temporary), 'a leftover that is longer than the file');
    berth.server.script({ on: 'REMOVE', nth: 'every', do: { kind: 'status', code: 3 } });
    await berth.remote.deliver(delivery);
    expect(String(await readFile(join(berth.disk, 'file')))).toBe('content');
  });

  test('while it is sent nobody reads more of it than of the file that it becomes', async () => {
    const { berth } = await warm();
    await using _ = berth;
    const modes: number[] = [];
    const source = sourceOf('content');
    const temporaries: string[] = [];
    async function* chunks(): AsyncGenerator<Buffer> {
      for (const name of temporaries) modes.push((await stat(join(berth.disk, name))).mode & 0o777);
      yield* source.chunks();
    }
    const delivery = { ...deliveryOf('file', { ...source, chunks }), permissions: 0o400 };
    temporaries.push(delivery.temporary);
    await berth.remote.deliver(delivery);
    expect(modes).toEqual([0o600]);
    expect((await stat(join(berth.disk, 'file'))).mode & 0o777).toBe(0o400);
  });
});

describe('a part', () => {
  const content = randomBytes(3_000_000);
  const half = content.subarray(0, 2_000_000);
  const partOf = (): Delivery => ({ ...deliveryOf('file', sourceOf(content)), part: 'possible' });

  test.each(['by reading it back', "by the server's hash"])('is proven %s and gone on with', async (how) => {
    const told = how !== 'by reading it back';
    const { berth } = await warm({ server: { extensions: { 'check-file': told } } });
    await using _ = berth;
    const delivery = partOf();
    await writeFile(join(berth.disk, delivery.temporary), half);
    const before = berth.server.journal.receivedBytes;
    const delivered = await berth.remote.deliver(delivery);
    expect(delivered).toMatchObject({
      bytes: content.length,
      fromByte: half.length,
      sha256: sha256(content),
    });
    expect(berth.server.journal.receivedBytes - before).toBe(content.length - half.length);
    expect(berth.server.journal.sentBytes).toBe(told ? 0 : half.length);
    expect((await readFile(join(berth.disk, 'file'))).equals(content)).toBe(true);
  });

  test('all of it that arrived is not sent again, even where nobody may write to it any more', async () => {
    const { berth } = await warm();
    await using _ = berth;
    const delivery = partOf();
    await writeFile(join(berth.disk, delivery.temporary), content);
    berth.server.script({ on: 'OPEN', path: '**/.ferryd-*', nth: 2, do: { kind: 'status', code: 3 } });
    const delivered = await berth.remote.deliver(delivery);
    expect(delivered).toMatchObject({ fromByte: content.length, modifiedMs: someTimeMs });
    expect(berth.server.journal.receivedBytes).toBe(1);
  });

  test('that cannot be opened is held: it is told so', async () => {
    const { berth } = await warm();
    await using _ = berth;
    const delivery = partOf();
    await writeFile(join(berth.disk, delivery.temporary), half);
    berth.server.script({ on: 'OPEN', path: '**/.ferryd-*', nth: 2, do: { kind: 'status', code: 4 } });
    expect(await failureOf(berth.remote.deliver(delivery))).toMatchObject({
      decision: 'retry',
      code: 'HELD',
    });
  });

  test('that does not become the file is not gone on with any more', async () => {
    const { berth } = await warm();
    await using _ = berth;
    const delivery = partOf();
    await writeFile(join(berth.disk, delivery.temporary), half);
    berth.server.script({ on: 'WRITE', path: '**/.ferryd-*', do: { kind: 'status', code: 8 } });
    await expect(berth.remote.deliver(delivery)).rejects.toThrow();
    expect(berth.learned.join()).toContain('cannot go on with an upload');
    const before = berth.server.journal.receivedBytes;
    expect(await berth.remote.deliver(delivery)).toMatchObject({ fromByte: 0 });
    expect(berth.server.journal.receivedBytes - before).toBe(content.length);
  });

  test('with holes where a write failed is not taken for whole', async () => {
    const { berth } = await warm();
    await using _ = berth;
    const delivery = partOf();
    const holed = Buffer.concat([Buffer.alloc(100_000), content.subarray(100_000, 2_000_000)]);
    await writeFile(join(berth.disk, delivery.temporary), holed);
    expect(await berth.remote.deliver(delivery)).toMatchObject({ fromByte: 0, sha256: sha256(content) });
    expect((await readFile(join(berth.disk, 'file'))).equals(content)).toBe(true);
  });
});

describe('a file that is too large to be hashed at once', () => {
  const content = Buffer.alloc(66 * 1024 * 1024, 'a content that repeats itself every 42 bytes');
  const pieces = (berth: SftpBerth): number[] =>
    berth.server.journal
      .of('check-file-name')
      .map(({ path }) => (path?.includes('.ferryd-') === true ? 1 : 0));

  test('is proven piece by piece, and so is a part of it', async () => {
    await using berth = await SftpBerth.open({ server: { extensions: { 'check-file': true } } });
    const delivery = deliveryOf('file', sourceOf(content));
    const cut = content.length - 200_000;
    await writeFile(join(berth.disk, delivery.temporary), content.subarray(0, cut));
    const delivered = await berth.remote.deliver({ ...delivery, part: 'possible' });
    expect(delivered).toMatchObject({ fromByte: cut, sha256: sha256(content) });
    // Two of the part, one of what was sent.
    expect(pieces(berth)).toEqual([1, 1, 1]);
    expect(berth.server.journal.sentBytes).toBe(0);
    expect((await readFile(join(berth.disk, 'file'))).equals(content)).toBe(true);
  });

  test('with another byte in the part it is sent from the beginning, and each piece is proven', async () => {
    await using berth = await SftpBerth.open({ server: { extensions: { 'check-file': true } } });
    const delivery = deliveryOf('file', sourceOf(content));
    const part = Buffer.from(content.subarray(0, content.length - 5));
    part[content.length - 10] = 0;
    await writeFile(join(berth.disk, delivery.temporary), part);
    expect(await berth.remote.deliver({ ...delivery, part: 'possible' })).toMatchObject({ fromByte: 0 });
    expect(pieces(berth)).toEqual([1, 1, 1, 1]);
    expect((await readFile(join(berth.disk, 'file'))).equals(content)).toBe(true);
  });
});

describe('a disk that is full', () => {
  const content = randomBytes(2_500_000);

  test('is asked before a large file is sent, and nothing of it stays', async () => {
    const { berth } = await warm({ server: { capacityBytes: 2_000_000 } });
    await using _ = berth;
    const received = berth.server.journal.receivedBytes;
    const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf(content))));
    expect(failure).toMatchObject({ decision: 'hold', code: 'FULL' });
    expect(failure.message).toContain('Make room');
    expect(berth.server.journal.receivedBytes).toBe(received);
    expect(await readdir(berth.disk)).toEqual([WARM]);
  });

  test.each([4, 14, 15] as const)('when it gets full under a file (status %i): hold', async (fullStatus) => {
    const { berth } = await warm({ server: { capacityBytes: 500_000, fullStatus } });
    await using _ = berth;
    const delivery = deliveryOf('file', sourceOf(content.subarray(0, 800_000)));
    const failure = await failureOf(berth.remote.deliver(delivery));
    expect(failure.decision, failure.message).toBe('hold');
    expect(await readdir(berth.disk)).not.toContain('file');
  });

  test('without statvfs the status alone is judged, and the file is not blamed for good', async () => {
    const extensions = { 'statvfs@openssh.com': false, 'fstatvfs@openssh.com': false };
    const { berth } = await warm({ server: { capacityBytes: 500_000, extensions } });
    await using _ = berth;
    const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf(content))));
    expect(failure.code).toBe('FAILURE');
    expect(failure.decision).not.toBe('abort');
  });
});

test('large files are read one after the other where memory would not hold them all', async () => {
  await using berth = await SftpBerth.open({ account: { connections: 1 } });
  let reading = 0;
  let most = 0;
  const slow = (path: string): Delivery => {
    const source = sourceOf(Buffer.alloc(2_500_000, path));
    async function* chunks(): AsyncGenerator<Buffer> {
      reading += 1;
      most = Math.max(most, reading);
      try {
        yield* source.chunks();
      } finally {
        reading -= 1;
      }
    }
    return deliveryOf(path, { ...source, chunks });
  };
  const paths = Array.from({ length: 20 }, (_, place) => `file-${place}`);
  await Promise.all(paths.map((path) => berth.remote.deliver(slow(path))));
  expect(most).toBeLessThanOrEqual(4);
  expect(await readdir(berth.disk)).toHaveLength(20);
});

async function failureOf(work: Promise<unknown>): Promise<ReturnType<typeof judge>> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  );
  return judge(error);
}

/** A string as SFTP has it. */
function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
