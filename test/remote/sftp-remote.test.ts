/* What concerns the whole of an SFTP remote: names that it does not keep, logins that fail, signals, where its root is. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { judge } from '../../src/remote/failure.js';
import { deliveryOf, fetched, sourceOf } from './contract.js';
import { SftpBerth } from './sftp-berth.js';

async function failureOf(work: Promise<unknown>): Promise<ReturnType<typeof judge>> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  );
  return judge(error);
}

describe('names', () => {
  test('that differ in case alone meet in one file: it is found out, and nothing is left of that', async () => {
    await using berth = await SftpBerth.open({ server: { names: 'caseless' } });
    expect(await berth.remote.keepsApart('case')).toBe(false);
    expect(await berth.remote.keepsApart('form')).toBe(true);
    expect(await readdir(berth.disk)).toEqual([]);
  });

  test('that are hidden are refused: temporary files get others', async () => {
    await using berth = await SftpBerth.open();
    berth.server.script({ on: 'OPEN', path: '**/.ferryd-*', nth: 'every', do: { kind: 'status', code: 3 } });
    expect((await failureOf(berth.remote.deliver(deliveryOf('file.txt', sourceOf('x'))))).code).toBe(
      'TEMPORARY',
    );
    expect(berth.remote.temporaryForm).toBe('plain');
    const delivery = deliveryOf('file.txt', sourceOf('x'));
    await berth.remote.deliver({ ...delivery, temporary: 'ferryd-0123456789abcdef.part.txt' });
    expect(await readdir(berth.disk)).toEqual(['file.txt']);
  });

  test('in the charset of the server', async () => {
    await using berth = await SftpBerth.open({ account: { charset: 'windows-1252' } });
    await berth.remote.deliver(deliveryOf('Größe.txt', sourceOf('x')));
    const [bytes] = await readdir(Buffer.from(berth.disk), { encoding: 'buffer' });
    expect(bytes?.toString('latin1')).toBe('Größe.txt');
    expect((await berth.remote.list('')).files.map(({ path }) => path)).toEqual(['Größe.txt']);
    expect(String(await fetched(berth.remote, 'Größe.txt'))).toBe('x');
    expect((await failureOf(berth.remote.deliver(deliveryOf('日本', sourceOf('x'))))).decision).toBe('skip');
  });
});

test('a login that is refused is tried once, however many wait for it', async () => {
  await using berth = await SftpBerth.open({ credentials: { password: 'wrong' } });
  const failures = await Promise.all(
    Array.from({ length: 40 }, (_, place) =>
      failureOf(berth.remote.deliver(deliveryOf(`file-${place}`, sourceOf('x')))),
    ),
  );
  expect(new Set(failures.map(({ decision, kind }) => `${decision} ${kind}`))).toEqual(
    new Set(['abort trust']),
  );
  expect((await failureOf(berth.remote.deliver(deliveryOf('later', sourceOf('x'))))).decision).toBe('abort');
  expect(berth.server.journal.attempts.filter(({ method }) => method === 'password')).toHaveLength(1);
});

describe('signals', () => {
  test('a delivery that was not begun is not begun any more', async () => {
    await using berth = await SftpBerth.open();
    const reason = new Error('enough');
    const stop = AbortSignal.abort(reason);
    await expect(berth.remote.deliver(deliveryOf('file', sourceOf('x')), { stop })).rejects.toBe(reason);
    expect(berth.server.journal.of('OPEN')).toEqual([]);
  });

  test('a delivery that is not answered ends at once, wherever it is, and leaves the session to the others', async () => {
    await using berth = await SftpBerth.open({ account: { connections: 1 } });
    await berth.remote.stat('nothing');
    for (const on of ['OPEN', 'WRITE', 'fsync@openssh.com', 'CLOSE', 'posix-rename@openssh.com']) {
      const delivery = deliveryOf('file', sourceOf('x'));
      berth.server.script({ on, path: `**/${delivery.temporary}`, do: { kind: 'noAnswer' } });
      const controller = new AbortController();
      const delivering = berth.remote.deliver(delivery, { signal: controller.signal });
      delivering.catch(() => {});
      await berth.server.waitFor(on, { path: new RegExp(delivery.temporary) });
      const beganMs = performance.now();
      controller.abort(new Error('enough'));
      await expect(delivering, on).rejects.toThrow();
      // Long before the server would be given up.
      expect(performance.now() - beganMs, on).toBeLessThan(3_000);
      await berth.remote.deliver(deliveryOf('other', sourceOf(on)));
      expect(String(await readFile(join(berth.disk, 'other')))).toBe(on);
    }
    expect(berth.server.journal.sessions).toBe(1);
    // Else what is owed would be waited for.
    berth.server.drop('reset');
  });
});

describe('the root', () => {
  test('that is not there is an error when it is listed, and is made when something is sent', async () => {
    await using berth = await SftpBerth.open();
    const remote = berth.account.remote({ path: 'new/root', absolute: false });
    await expect(remote.list('')).rejects.toThrow();
    await remote.deliver(deliveryOf('file', sourceOf('x')));
    expect((await remote.list('')).files.map(({ path }) => path)).toEqual(['file']);
  });

  test('relative paths where the server does not tell where the session is', async () => {
    await using berth = await SftpBerth.open({
      root: { path: '~odd', absolute: false },
      prepare: (server) => server.script({ on: 'REALPATH', nth: 'every', do: { kind: 'status', code: 4 } }),
    });
    await berth.remote.deliver(deliveryOf('sub/file', sourceOf('x')));
    expect(String(await readFile(join(berth.disk, 'sub/file')))).toBe('x');
    await mkdir(join(berth.disk, 'empty'));
    expect(await berth.remote.removeDirectory('empty')).toBe('removed');
    expect((await berth.remote.list('sub')).files.map(({ path }) => path)).toEqual(['sub/file']);
  });
});
