/*
 * Moves and directories where the server is slow, silent or against it: a reply that is lost, somebody who is quicker,
 * a refusal that is no reason, a signal in the middle.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Failure } from '../../src/remote/decision.js';
import { judge } from '../../src/remote/failure.js';
import type { Remote } from '../../src/remote/remote.js';
import type { Fault } from '../support/ftp-server/fault.js';
import { serverLike } from '../support/ftp-server/settings.js';
import { FtpBerth, type FtpBerthOptions } from './berth.js';
import { deliveryOf, filesBelow, sourceOf } from './contract.js';

const open = (options: FtpBerthOptions = {}): Promise<FtpBerth> =>
  FtpBerth.open({ ...options, account: { connections: 1, ...options.account } });

async function place(berth: FtpBerth, ...paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await mkdir(dirname(join(berth.disk, path)), { recursive: true });
    await writeFile(join(berth.disk, path), path);
  }
}

const read = (berth: FtpBerth, path: string): string => readFileSync(join(berth.disk, path), 'utf8');

async function failing(work: Promise<unknown>): Promise<Failure> {
  const error: unknown = await work.then(
    () => new Error('It did not fail'),
    (reason: unknown) => reason,
  );
  return judge(error);
}

describe('a move whose reply is lost', () => {
  test.each<[string, Fault]>([
    ['with the connection', { kind: 'reset', at: 'final' }],
    ['in silence', { kind: 'hang', at: 'final' }],
    ['behind a goodbye', { kind: 'reply', text: '421 Going down.', at: 'final' }],
  ])('%s, and was done: it was moved', async (_how, fault) => {
    await using berth = await open({
      account: { timeouts: { connectMs: 5_000, replyMs: 300, stallMs: 5_000, transferMs: 60_000 } },
    });
    await place(berth, 'file');
    berth.server.script({ on: 'RNTO', nth: 2, do: fault });
    expect(await berth.remote.move('file', 'new/place')).toBe('moved');
    expect(await filesBelow(berth.disk)).toEqual(['new/place']);
    expect(berth.server.journal.connections).toBe(2);
  });

  test('and was not done: that is said, and the next try does it', async () => {
    await using berth = await open();
    await place(berth, 'file');
    berth.server.script({ on: 'RNTO', do: { kind: 'reset' } });
    expect(await failing(berth.remote.move('file', 'place'))).toMatchObject({ decision: 'reconnect' });
    expect(await berth.remote.move('file', 'place')).toBe('moved');
    expect(await filesBelow(berth.disk)).toEqual(['place']);
  });

  test('and nobody can be asked: the loss is what is told', async () => {
    await using berth = await open();
    await place(berth, 'file');
    berth.server.script({ on: 'RNTO', do: { kind: 'reset', at: 'final' } });
    berth.server.script({ on: 'USER', nth: 2, do: { kind: 'reset' } });
    const failure = await failing(berth.remote.move('file', 'place'));
    expect(failure).toMatchObject({ decision: 'reconnect', beforeSession: false });
    expect(await berth.remote.move('file', 'place')).toBe('missing');
  });

  test('before anything was to be renamed: nobody looks', async () => {
    await using berth = await open();
    await place(berth, 'file');
    berth.server.script({ on: 'MLST', do: { kind: 'reset' } });
    expect(await failing(berth.remote.move('file', 'place'))).toMatchObject({ decision: 'reconnect' });
    expect(berth.server.journal.connections).toBe(1);
  });
});

describe('a refusal', () => {
  test('because somebody was quicker: occupied, and his file stays', async () => {
    await using berth = await open({ server: { renameOverwrites: false } });
    await place(berth, 'file');
    const unhear = berth.server.on('command', (verb) => {
      if (verb !== 'RNFR') return;
      unhear();
      writeFileSync(join(berth.disk, 'place'), 'place');
    });
    expect(await berth.remote.move('file', 'place')).toBe('occupied');
    expect(read(berth, 'place')).toBe('place');
    expect(read(berth, 'file')).toBe('file');
  });

  test('in words, and done all the same: it was moved', async () => {
    await using berth = await open();
    await place(berth, 'file');
    berth.server.script({ on: 'RNTO', do: { kind: 'reply', text: '550 Failed.', at: 'final' } });
    expect(await berth.remote.move('file', 'place')).toBe('moved');
    expect(await filesBelow(berth.disk)).toEqual(['place']);
  });

  test('because the file is gone by now: missing', async () => {
    await using berth = await open();
    await place(berth, 'file');
    berth.server.script({ on: 'RNFR', do: { kind: 'reply', text: '550 No such file.' } });
    berth.server.script({ on: 'MLST', nth: 3, do: { kind: 'reply', text: '550 No such file.' } });
    expect(await berth.remote.move('file', 'place')).toBe('missing');
  });

  test('a place that cannot be looked at for now is not taken for free', async () => {
    await using berth = await open({ server: serverLike('vsftpd') });
    await place(berth, 'file', 'place');
    berth.server.script({ on: 'SIZE', nth: 'every', do: { kind: 'reply', text: '450 Busy.' } });
    expect(await berth.remote.move('file', 'place')).toBe('occupied');
    expect(read(berth, 'place')).toBe('place');
  });

  test('for good: a sentence with both places, and how to do without', async () => {
    await using berth = await open();
    await place(berth, 'file');
    berth.server.script({ on: 'RNFR', nth: 'every', do: { kind: 'reply', text: '550 Permission denied.' } });
    const failure = await failing(berth.remote.move('file', 'a/place'));
    expect(failure).toMatchObject({ decision: 'skip', code: 'MOVE' });
    for (const part of ['dumps/file', 'dumps/a/place', 'Permission denied', 'policy: delete'])
      expect(failure.message).toContain(part);
  });
});

test('a link is moved as what it is, and not replaced', async () => {
  await using berth = await open();
  await place(berth, 'file', 'other');
  await symlink('file', join(berth.disk, 'link'));
  expect(await berth.remote.move('other', 'link')).toBe('occupied');
  expect(await berth.remote.move('link', 'moved')).toBe('moved');
  expect((await readdir(berth.disk)).sort()).toEqual(['file', 'moved', 'other']);
  expect(read(berth, 'moved')).toBe('file');
});

test('the round trips of a move: one to look, one to rename, once its directory is known', async () => {
  for (const server of [{}, serverLike('vsftpd')]) {
    await using berth = await open({ server });
    await place(berth, 'first', 'second');
    await berth.remote.move('first', 'trash/first');
    const { journal } = berth.server;
    const from = journal.commands.length;
    await berth.remote.move('second', 'trash/second');
    const packets = new Set(journal.commands.slice(from).map(({ packet }) => packet));
    expect(packets.size).toBe(2);
  }
});

test('a name that the server would alter is not moved to', async () => {
  await using berth = await open({ server: serverLike('pure-ftpd') });
  await place(berth, 'file', 'x_');
  expect(await failing(berth.remote.move('file', 'x '))).toMatchObject({
    decision: 'skip',
    code: 'argument',
  });
  expect(await failing(berth.remote.makeDirectory('d '))).toMatchObject({
    decision: 'skip',
    code: 'argument',
  });
  expect(await filesBelow(berth.disk)).toEqual(['file', 'x_']);
});

describe('directories', () => {
  test('an empty one that the server keeps: its refusal', async () => {
    await using berth = await open();
    await mkdir(join(berth.disk, 'empty'));
    berth.server.script({ on: 'RMD', do: { kind: 'reply', text: '550 Permission denied.' } });
    const failure = await failing(berth.remote.removeDirectory('empty'));
    expect(failure).toMatchObject({ decision: 'skip', code: '550' });
    expect(await readdir(berth.disk)).toEqual(['empty']);
  });

  test('one that has what nobody can read is not empty', async () => {
    await using berth = await open();
    await mkdir(join(berth.disk, 'full'));
    await writeFile(Buffer.concat([Buffer.from(`${berth.disk}/full/`), Buffer.from([0xe4])]), 'x');
    expect(await berth.remote.removeDirectory('full')).toBe('not-empty');
  });

  test('one that cannot be made: the refusal', async () => {
    await using berth = await open();
    berth.server.script({ on: 'MKD', nth: 'every', do: { kind: 'reply', text: '550 Permission denied.' } });
    const failure = await failing(berth.remote.makeDirectory('a/b'));
    expect(failure).toMatchObject({ decision: 'skip', code: '550' });
    expect(failure.message).toContain('Permission denied');
  });
});

describe('a signal', () => {
  const works: Readonly<Record<string, [string, (remote: Remote, signal: AbortSignal) => Promise<unknown>]>> =
    {
      stat: ['SIZE', (remote, signal) => remote.stat('file', { signal })],
      list: ['MLSD', (remote, signal) => remote.list('', { signal })],
      remove: ['DELE', (remote, signal) => remote.remove('file', { signal })],
      move: ['RNTO', (remote, signal) => remote.move('file', 'place', { signal })],
      makeDirectory: ['MKD', (remote, signal) => remote.makeDirectory('sub', { signal })],
      removeDirectory: ['RMD', (remote, signal) => remote.removeDirectory('sub', { signal })],
      digest: ['RETR', (remote, signal) => remote.digest('file', { sizeBytes: 4, signal })],
    };

  test.each(Object.entries(works))('breaks %s off while the server is silent', async (_name, [on, work]) => {
    await using berth = await open();
    await place(berth, 'file');
    berth.server.script({ on, do: { kind: 'hang' } });
    const controller = new AbortController();
    berth.server.on('command', (verb) => {
      if (verb === on) controller.abort(new Error('enough'));
    });
    expect(await failing(work(berth.remote, controller.signal))).toMatchObject({ code: 'aborted' });
    expect(berth.server.journal.connections).toBe(1);
    // And the remote goes on working.
    expect(await berth.remote.stat('file')).toMatchObject({ sizeBytes: 4 });
  });

  test.each(Object.entries(works))('ends the wait of %s for a connection', async (_name, [, work]) => {
    await using berth = await open();
    await place(berth, 'file');
    let goOn = (): void => {};
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const source = sourceOf('x');
    async function* chunks(): AsyncGenerator<Buffer> {
      await held;
      yield* source.chunks();
    }
    const delivery = berth.remote.deliver(deliveryOf('other', { ...source, chunks }));
    await berth.server.until((journal) => journal.of('STOR').length === 1);
    const controller = new AbortController();
    const waiting = work(berth.remote, controller.signal);
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    goOn();
    await delivery;
    expect(await filesBelow(berth.disk)).toEqual(['file', 'other']);
  });
});
