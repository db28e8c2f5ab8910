/*
 * Real SFTP servers in trouble: they stand still, are cut off, have no room left, may not be written to, or print what
 * is no SFTP. What was delivered is whole, nothing half stands under a final name, every wait ends, and what is judged
 * is what happened.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Failure } from '../../src/remote/decision.js';
import { judge } from '../../src/remote/failure.js';
import type { Reading, Source } from '../../src/remote/remote.js';
import { describeReal, describeWhere } from '../support/real-server.js';
import { startModSftp } from '../support/servers/mod-sftp.js';
import { noAccounts, type Sshd, type SshdOptions, startSshd } from '../support/servers/openssh.js';
import { deliveryOf, fetched, filesBelow, sha256, sourceOf } from './contract.js';
import { RealSftpBerth, type SftpAccountChanges } from './real-sftp-berth.js';

const MIB = 1024 * 1024;
const content = randomBytes(8 * MIB + 77);
const shortMs = 500;
const timeouts = { connectMs: 5_000, replyMs: shortMs, stallMs: shortMs, transferMs: 60_000 };
/** A wait ends within the limit and what a busy machine adds to it. */
const soonMs = 10 * shortMs;

async function open(
  options: SshdOptions = {},
  changes: SftpAccountChanges = {},
): Promise<RealSftpBerth<Sshd>> {
  return RealSftpBerth.open(() => startSshd(options), changes);
}

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  );
  return judge(error);
}

/** A source that does something once so many bytes were read of it. */
function interrupted(bytes: Buffer, atByte: number, act: () => Promise<void>): Source {
  const source = sourceOf(bytes);
  return {
    ...source,
    async *chunks(reading?: Reading) {
      let read = 0;
      let done = false;
      for await (const chunk of source.chunks(reading)) {
        yield chunk;
        read += chunk.length;
        if (done || read < atByte) continue;
        done = true;
        await act();
      }
    },
  };
}

describeReal('openssh', 'a server that stands still', () => {
  test('is noticed while nothing is asked of it; the next file takes a new connection', async () => {
    await using berth = await open({}, { timeouts });
    await berth.remote.deliver(deliveryOf('first', sourceOf('1')));
    await berth.server.freeze();
    await expect
      .poll(() => berth.wire.some((line) => line.includes('has not been heard of')), { timeout: soonMs })
      .toBe(true);
    await berth.remote.deliver(deliveryOf('second', sourceOf('2')));
    expect(berth.opened).toHaveLength(2);
    await berth.server.thaw();
    expect(await filesBelow(berth.disk)).toEqual(['first', 'second']);
  });

  test('is noticed where an answer is waited for', async () => {
    await using berth = await open({}, { timeouts });
    await berth.remote.deliver(deliveryOf('first', sourceOf('1')));
    await berth.server.freeze();
    const startedAt = performance.now();
    const failures = await Promise.all([
      failureOf(berth.remote.stat('first')),
      failureOf(berth.remote.list('')),
      failureOf(berth.remote.deliver(deliveryOf('second', sourceOf('2')))),
      failureOf(fetched(berth.remote, 'first')),
    ]);
    expect(performance.now() - startedAt).toBeLessThan(soonMs);
    for (const failure of failures)
      expect(failure).toMatchObject({ decision: 'reconnect', kind: 'unreachable' });
    await berth.server.thaw();
    expect(await berth.remote.stat('first')).toMatchObject({ sizeBytes: 1 });
    await berth.remote.deliver(deliveryOf('second', sourceOf('2')));
    expect(await filesBelow(berth.disk)).toEqual(['first', 'second']);
  });

  test('in the middle of an upload: nothing under the final name, and the part is gone on with', async () => {
    await using berth = await open({}, { timeouts, connections: 1 });
    const delivery = deliveryOf('large', sourceOf(content));
    const source = interrupted(content, 3 * MIB, () => berth.server.freeze());
    const failure = await failureOf(berth.remote.deliver({ ...delivery, source }));
    expect(failure).toMatchObject({ decision: 'reconnect', kind: 'unreachable' });
    await berth.server.thaw();
    expect(await readdir(berth.disk)).not.toContain('large');
    // What was on its way is written, now that somebody reads it, and the old session ends: the part grows no more.
    await expect.poll(() => berth.server.connections()).toBe(0);
    const delivered = await berth.remote.deliver({ ...delivery, part: 'possible' });
    expect(delivered.sha256).toBe(sha256(content));
    expect(sha256(await readFile(join(berth.disk, 'large')))).toBe(sha256(content));
    expect(await readdir(berth.disk)).toEqual(['large']);
  });

  test('in the middle of a download', async () => {
    await using berth = await open({}, { timeouts, connections: 1 });
    await writeFile(join(berth.disk, 'large'), content);
    await berth.adopt();
    const had: Buffer[] = [];
    let hadBytes = 0;
    const failure = await failureOf(
      berth.remote.fetch('large', async (chunk) => {
        had.push(Buffer.from(chunk));
        const before = hadBytes;
        hadBytes += chunk.length;
        if (before < 2 * MIB && hadBytes >= 2 * MIB) await berth.server.freeze();
      }),
    );
    expect(failure).toMatchObject({ decision: 'reconnect', kind: 'unreachable' });
    await berth.server.thaw();
    await berth.remote.fetch('large', async (chunk) => void had.push(Buffer.from(chunk)), {
      fromByte: hadBytes,
    });
    expect(sha256(Buffer.concat(had))).toBe(sha256(content));
  });
});

describeReal('openssh', 'a connection that is cut', () => {
  test('in the middle of an upload: what arrived is gone on with', async () => {
    await using berth = await open({}, { connections: 1 });
    const delivery = deliveryOf('large', sourceOf(content));
    const source = interrupted(content, 5 * MIB, async () => {
      await expect.poll(() => sizeOf(join(berth.disk, delivery.temporary))).toBeGreaterThan(MIB);
      await berth.server.cut();
    });
    const failure = await failureOf(berth.remote.deliver({ ...delivery, source }));
    expect(failure).toMatchObject({ decision: 'reconnect', kind: 'unreachable' });
    expect(await readdir(berth.disk)).toEqual([delivery.temporary]);
    const delivered = await berth.remote.deliver({ ...delivery, part: 'possible' });
    expect(delivered.fromByte).toBeGreaterThan(MIB);
    expect(sha256(await readFile(join(berth.disk, 'large')))).toBe(sha256(content));
    expect(await readdir(berth.disk)).toEqual(['large']);
  });

  test('in the middle of a download: what the sink had is right, and the rest follows', async () => {
    await using berth = await open({}, { connections: 1 });
    await writeFile(join(berth.disk, 'large'), content);
    await berth.adopt();
    const had: Buffer[] = [];
    let hadBytes = 0;
    const failure = await failureOf(
      berth.remote.fetch('large', async (chunk) => {
        had.push(Buffer.from(chunk));
        if (hadBytes === 0) await berth.server.cut();
        hadBytes += chunk.length;
      }),
    );
    expect(failure).toMatchObject({ decision: 'reconnect', kind: 'unreachable' });
    expect(hadBytes).toBeLessThan(content.length);
    expect(Buffer.concat(had).equals(content.subarray(0, hadBytes))).toBe(true);
    await berth.remote.fetch('large', async (chunk) => void had.push(Buffer.from(chunk)), {
      fromByte: hadBytes,
    });
    expect(sha256(Buffer.concat(had))).toBe(sha256(content));
  });

  test('with many small files under way: each is whole or not there, and all arrive in the end', async () => {
    await using berth = await open({}, { connections: 2 });
    const files = new Map(
      Array.from({ length: 60 }, (_, place) => [`file-${place}`, randomBytes(1 + 700 * place)] as const),
    );
    let arrived = 0;
    let cuts = 0;
    const deliver = async (path: string, bytes: Buffer): Promise<void> => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          const delivery = deliveryOf(path, sourceOf(bytes));
          await berth.remote.deliver(delivery);
          arrived += 1;
          if (arrived % 20 === 10 && cuts < 3) {
            cuts += 1;
            await berth.server.cut();
          }
          return;
        } catch (error) {
          expect(judge(error).decision, String(error)).toBe('reconnect');
          if (attempt === 10) throw error;
        }
      }
    };
    await Promise.all([...files].map(([path, bytes]) => deliver(path, bytes)));
    expect(cuts).toBe(3);
    for (const [path, bytes] of files)
      expect((await readFile(join(berth.disk, path))).equals(bytes), path).toBe(true);
  });
});

describeReal('openssh', 'a disk that is full', () => {
  describeWhere('a disk of its own', noAccounts, 'is a hold, not a file skipped', () => {
    test('nothing half stands under a final name, and what there is room for still goes', async () => {
      await using berth = await open({ roomBytes: 2 * MIB });
      const seen = join(await berth.server.inside(berth.server.home), 'dumps');
      await berth.remote.deliver(deliveryOf('small', sourceOf('fits')));
      // Each alone would fit in; all of them do not, and that shows only on the way.
      const sources = [0, 1, 2].map((place) => content.subarray(place, place + 1.5 * MIB));
      const deliveries = sources.map((bytes, place) => deliveryOf(`large-${place}`, sourceOf(bytes)));
      const outcomes = await Promise.allSettled(deliveries.map((each) => berth.remote.deliver(each)));
      const refusals = outcomes.flatMap((each) => (each.status === 'rejected' ? [judge(each.reason)] : []));
      expect(refusals.length).toBeGreaterThanOrEqual(2);
      for (const refusal of refusals) {
        expect(refusal).toMatchObject({ decision: 'hold', kind: 'failed' });
        expect(refusal.message).toMatch(/full|free/);
      }
      for (const [place, bytes] of sources.entries()) {
        const { path, temporary } = deliveries[place] ?? { path: '', temporary: '' };
        if (outcomes[place]?.status === 'fulfilled')
          expect(sha256(await readFile(join(seen, path)))).toBe(sha256(bytes));
        else expect(await readdir(seen)).not.toContain(path);
        await berth.remote.remove(temporary);
      }
      await berth.remote.deliver(deliveryOf('another', sourceOf('fits, too')));
      expect(await readFile(join(seen, 'another'), 'utf8')).toBe('fits, too');
    });

    test('what cannot fit in is not begun', async () => {
      await using berth = await open({ roomBytes: 2 * MIB });
      const large = deliveryOf('large', sourceOf(content));
      const failure = await failureOf(berth.remote.deliver(large));
      expect(failure).toMatchObject({ decision: 'hold', kind: 'failed' });
      expect(failure.message).toMatch(/full|free/);
      await berth.remote.remove(large.temporary);
      expect((await berth.remote.list('')).files).toEqual([]);
    });

    test('an old file stays as it was where the new one has no room', async () => {
      await using berth = await open({ roomBytes: 2 * MIB });
      await berth.remote.deliver(deliveryOf('file', sourceOf('the old content')));
      const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf(content))));
      expect(failure).toMatchObject({ decision: 'hold' });
      expect(String(await fetched(berth.remote, 'file'))).toBe('the old content');
    });
  });
});

const readOnly = [
  ['openssh', () => startSshd({ sftpArguments: ['-R'] })],
  ['mod-sftp', () => startModSftp({ settings: ['<Limit WRITE>\nDenyAll\n</Limit>'] })],
] as const;

for (const [name, start] of readOnly) {
  describeReal(name, `${name}, read-only`, () => {
    test('every change is refused as what it is, and everything can be read', async () => {
      await using berth = await RealSftpBerth.open(start);
      await mkdir(join(berth.disk, 'directory'));
      await writeFile(join(berth.disk, 'file'), 'content');
      await berth.adopt();
      const { remote } = berth;
      const refused: Readonly<Record<string, Promise<unknown>>> = {
        deliver: remote.deliver(deliveryOf('new', sourceOf('content'))),
        'deliver over a file': remote.deliver(deliveryOf('file', sourceOf('new content'))),
        'deliver below a new directory': remote.deliver(deliveryOf('new/file', sourceOf('content'))),
        makeDirectory: remote.makeDirectory('new'),
        remove: remote.remove('file'),
        removeDirectory: remote.removeDirectory('directory'),
        move: remote.move('file', 'moved'),
      };
      const failures = await Promise.all(
        Object.entries(refused).map(async ([what, work]) => [what, await failureOf(work)] as const),
      );
      for (const [what, failure] of failures) {
        const code = what === 'move' ? 'MOVE' : 'PERMISSION_DENIED';
        expect([what, failure.decision, failure.code]).toEqual([what, 'skip', code]);
        expect(failure.message, what).toMatch(/permission denied/i);
      }
      expect(String(await fetched(remote, 'file'))).toBe('content');
      expect((await remote.list('')).directories).toEqual(['directory']);
      expect(await remote.digest('file', { sizeBytes: 7 })).toMatchObject({ hex: sha256('content') });
      expect(await readdir(berth.disk)).toEqual(['directory', 'file']);
      expect(await filesBelow(berth.disk)).toEqual(['file']);
    });
  });
}

describeReal('openssh', 'a directory without the right to write', () => {
  test('costs its own files alone', async () => {
    await using berth = await open();
    await mkdir(join(berth.disk, 'closed'));
    await berth.adopt();
    await chmod(join(berth.disk, 'closed'), 0o555);
    const failure = await failureOf(berth.remote.deliver(deliveryOf('closed/file', sourceOf('content'))));
    expect(failure).toMatchObject({ decision: 'skip', code: 'PERMISSION_DENIED' });
    await berth.remote.deliver(deliveryOf('open/file', sourceOf('content')));
    expect(await filesBelow(berth.disk)).toEqual(['open/file']);
  });
});

describeReal('openssh', 'a login shell that prints something', () => {
  test.each([
    ['a greeting', 'Welcome to the machine.\nIt is Monday.\n'],
    ['an answer of a restricted shell', 'This account is currently not available.\n'],
    ['a single character', '.'],
    ['more than anybody reads', 'Welcome! '.repeat(50_000)],
  ])('%s: ends the run with what was printed, at once', async (_, noise) => {
    await using berth = await open({ noise });
    const startedAt = performance.now();
    const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf('content'))));
    expect(failure).toMatchObject({ decision: 'abort', kind: 'unreachable', beforeSession: true });
    // Of a single character nobody can tell until the time for an answer is over.
    if (noise.length > 4) {
      expect(performance.now() - startedAt).toBeLessThan(4_000);
      expect(failure.message).toContain(noise.slice(0, 8));
    }
    expect(failure.message.length).toBeLessThan(1_000);
    expect(await filesBelow(berth.disk)).toEqual([]);
  });

  test('an account without a shell and without SFTP', async () => {
    await using berth = await open({ settings: ['Subsystem sftp /bin/false'] });
    const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf('content'))));
    expect(failure).toMatchObject({ beforeSession: true, kind: 'unreachable' });
    expect(['abort', 'reconnect']).toContain(failure.decision);
  });

  test('no SFTP at all', async () => {
    await using berth = await open({ settings: ['Subsystem other /bin/false'] });
    const failure = await failureOf(berth.remote.deliver(deliveryOf('file', sourceOf('content'))));
    expect(failure).toMatchObject({ decision: 'abort', kind: 'unreachable', beforeSession: true });
    expect(failure.message).toMatch(/SFTP/);
  });
});

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => ({ size: 0 }))).size;
}
