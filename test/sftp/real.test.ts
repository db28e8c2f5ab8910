/*
 * The client against OpenSSH's own sftp-server, over its standard input and output: no SSH is needed for that.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, readlink, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { SftpClient } from '../../src/sftp/client.js';
import { describeWhere, findProgram, unpackedEnvironment } from '../support/real-server.js';
import { temporaryDirectory } from '../support/temporary.js';
import { options } from './peer.js';

const program = findProgram('sftp-server');
const advice =
  program === undefined
    ? 'sftp-server is not installed: run .ci/servers, or sudo apt-get install openssh-sftp-server'
    : undefined;

async function ended(child: ChildProcess): Promise<number | null> {
  return child.exitCode ?? (await new Promise((resolve) => child.once('exit', resolve)));
}

async function within(
  work: (client: SftpClient, path: (name: string) => string) => Promise<void>,
): Promise<void> {
  await using directory = await temporaryDirectory('sftp');
  const child = spawn(program ?? '', ['-e'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: unpackedEnvironment(),
  });
  try {
    const channel = Duplex.from({ readable: child.stdout, writable: child.stdin });
    const client = await SftpClient.over(channel, { ...options, software: 'OpenSSH_9.2p1' });
    await work(client, (name) => directory.join(name));
    await client.close();
    expect(await ended(child)).toBe(0);
  } finally {
    child.kill('SIGKILL');
    await ended(child);
  }
}

async function* inPieces(content: Buffer, bytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < content.length; at += bytes) yield content.subarray(at, at + bytes);
}

describeWhere("OpenSSH's sftp-server", advice, "OpenSSH's sftp-server", () => {
  test('takes a file and gives it back, with its time and its permissions', async () => {
    await within(async (client, path) => {
      const content = randomBytes(5_000_003);
      const file = await client.open(path('new'), { access: 'exclusive', mode: 0o600 });
      expect(await file.upload(inPieces(content, 1 << 20))).toBe(content.length);
      const [, , told] = await Promise.all([
        file.setstat({ mode: 0o640, times: { accessedS: 1_000_000_001, modifiedS: 1_000_000_002 } }),
        file.fsync(),
        file.stat(),
        file.close(),
      ]);
      const wanted = { type: 'file', sizeBytes: content.length, mode: 0o100640, modifiedS: 1_000_000_002 };
      expect(told).toMatchObject(wanted);
      expect(await client.stat(path('new'))).toEqual(told);
      expect((await readFile(path('new'))).equals(content)).toBe(true);
      for (const sizeBytes of [undefined, content.length, 100_000, content.length + 100_000]) {
        const pieces: Buffer[] = [];
        const read = await client.open(path('new'), { access: 'read' });
        const sink = async (piece: Buffer): Promise<void> => void pieces.push(Buffer.from(piece));
        expect(await read.download(sink, { sizeBytes, fromByte: 3 })).toBe(content.length - 3);
        await read.close();
        expect(Buffer.concat(pieces).equals(content.subarray(3))).toBe(true);
      }
    });
  });

  test('goes on with a part, and reads one that shrinks', async () => {
    await within(async (client, path) => {
      const content = randomBytes(300_000);
      await writeFile(path('part'), content.subarray(0, 100_000));
      const file = await client.open(path('part'), { access: 'write' });
      await file.upload(inPieces(content.subarray(100_000), 70_000), { fromByte: 100_000 });
      await file.close();
      expect((await readFile(path('part'))).equals(content)).toBe(true);
      const read = await client.open(path('part'), { access: 'read' });
      let given = 0;
      const sink = async (piece: Buffer): Promise<void> => {
        if (given === 0) await truncate(path('part'), 290_000);
        given += piece.length;
      };
      const end = await read.download(sink, { sizeBytes: 300_000 });
      expect(end).toBe(given);
      expect([290_000, 300_000]).toContain(end);
      await read.close();
    });
  });

  test('lists, links, renames and removes', async () => {
    await within(async (client, path) => {
      await client.makeDirectory(path('d'), { mode: 0o750 });
      expect((await stat(path('d'))).mode & 0o777).toBe(0o750);
      for (let place = 0; place < 450; place += 1) await writeFile(path(`d/${place}`), `${place}`);
      await writeFile(Buffer.concat([Buffer.from(path('d/')), Buffer.from([0xff])]), '');
      await client.symlink({ at: path('d/link'), target: 'nowhere' });
      expect(await readlink(path('d/link'))).toBe('nowhere');
      expect(await client.readlink(path('d/link'))).toMatchObject({ name: 'nowhere' });
      const names = new Map<string, string>();
      for await (const batch of client.list(path('d')))
        for (const { name, bytes, attributes } of batch)
          names.set(name ?? bytes.toString('hex'), attributes.type);
      expect(names.size).toBe(452);
      expect([names.get('link'), names.get('449'), names.get('ff')]).toEqual(['link', 'file', 'file']);
      await client.lsetstat(path('d/link'), { times: { accessedS: 5, modifiedS: 6 } });
      expect(await client.lstat(path('d/link'))).toMatchObject({ type: 'link', modifiedS: 6 });
      await expect(client.stat(path('d/link'))).rejects.toMatchObject({
        kind: 'status',
        status: { code: 2 },
      });
      await client.hardlink(path('d/1'), path('d/one'));
      expect(await readFile(path('d/one'), 'utf8')).toBe('1');
      await expect(client.rename(path('d/2'), path('d/3'))).rejects.toMatchObject({ status: { code: 4 } });
      await client.posixRename(path('d/2'), path('d/3'));
      expect(await readFile(path('d/3'), 'utf8')).toBe('2');
      await client.remove(Buffer.concat([Buffer.from(path('d/')), Buffer.from([0xff])]));
      await expect(client.removeDirectory(path('d'))).rejects.toMatchObject({ status: { code: 4 } });
      await mkdir(path('empty'));
      await symlink('empty', path('to'));
      expect(await client.realpath(path('to'))).toMatchObject({ name: path('empty') });
      await client.removeDirectory(path('empty'));
    });
  });

  test('has the extensions, in the form that we speak', async () => {
    await within(async (client, path) => {
      expect(client.limits).toEqual({
        maxPacketBytes: 262_144,
        maxReadBytes: 261_120,
        maxWriteBytes: 261_120,
        maxHandles: expect.any(Number),
      });
      const space = await client.statvfs(path(''));
      expect(space.totalBytes).toBeGreaterThan(space.availableBytes);
      expect(space).toMatchObject({ isReadOnly: false, maxNameBytes: 255 });
      const content = randomBytes(100_000);
      await writeFile(path('a'), content);
      const from = await client.open(path('a'), { access: 'read' });
      const to = await client.open(path('b'), { access: 'truncate' });
      await client.copyData(from, to, { fromByte: 10, sizeBytes: 0, toByte: 0 });
      await Promise.all([from.close(), to.close()]);
      expect((await readFile(path('b'))).equals(content.subarray(10))).toBe(true);
      expect((await client.expandPath('~')).bytes.length).toBeGreaterThan(0);
      await expect(client.open(path('a'), { access: 'exclusive' })).rejects.toMatchObject({ kind: 'status' });
    });
  });
});
