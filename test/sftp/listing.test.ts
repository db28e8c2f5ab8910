import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Entry, SftpClient } from '../../src/sftp/client.js';
import { SftpError } from '../../src/sftp/errors.js';
import {
  type Asked,
  attributes,
  connected,
  handle,
  type Named,
  names,
  type Peer,
  packet,
  status,
  turns,
  u32,
} from './peer.js';

const OPENDIR = 11;
const READDIR = 12;
const CLOSE = 4;

afterEach(() => {
  vi.useRealTimers();
});

async function listed(client: SftpClient, signal?: AbortSignal): Promise<Entry[]> {
  const all: Entry[] = [];
  for await (const batch of client.list('/d', { signal })) all.push(...batch);
  return all;
}

/** Gives the batches one after the other, then the end. Returns the types of the requests that came. */
function serve(peer: Peer, batches: readonly (readonly Named[])[]): number[] {
  const asked: number[] = [];
  let next = 0;
  peer.serve(({ type, id }) => {
    asked.push(type);
    const batch = batches[next];
    if (type === OPENDIR) peer.send(handle(id, 'd'));
    else if (type === READDIR && batch !== undefined) {
      next += 1;
      peer.send(names(id, batch));
    } else peer.send(status(id, type === READDIR ? 1 : 0));
  });
  return asked;
}

async function reasonOf(promise: Promise<unknown>): Promise<SftpError> {
  const reason = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (reason instanceof SftpError) return reason;
  throw new Error(`no SftpError, but ${String(reason)}`);
}

describe('a listing', () => {
  test('has all entries but those of the directory itself, and closes it', async () => {
    const { client, peer } = await connected();
    const asked = serve(peer, [
      [{ name: '.' }, { name: '..' }],
      [],
      [{ name: 'a', attributes: attributes({ size: 3, modified: 4 }) }, { name: '...' }],
      [{ name: 'd', line: 'drwxr-xr-x 2 me', attributes: Buffer.concat([u32(4), u32(0o755)]) }],
    ]);
    const entries = await listed(client);
    expect(entries.map(({ name, attributes: { type, sizeBytes } }) => [name, type, sizeBytes])).toEqual([
      ['a', 'file', 3],
      ['...', 'file', 0],
      ['d', 'directory', undefined],
    ]);
    await turns();
    expect(asked).toEqual([OPENDIR, READDIR, READDIR, READDIR, READDIR, READDIR, CLOSE]);
  });

  test('marks names that can be none in a directory, or are no text', async () => {
    const { client, peer } = await connected();
    const odd = ['', 'a/b', '../x', '/', 'nul\0l', 'x'.repeat(4_097)].map((name) => Buffer.from(name));
    const bytes = [...odd, Buffer.from([0xff, 0xfe])];
    serve(peer, [bytes.map((name) => ({ name }))]);
    expect((await listed(client)).map(({ name, bytes: own }) => [name, own])).toEqual(
      bytes.map((own) => [undefined, own]),
    );
  });

  test('asks ahead where the server does one thing after the other, and nowhere else', async () => {
    const batches = Array.from({ length: 20 }, (_, place) => [{ name: `${place}` }]);
    const most = async (software: string, extension: string): Promise<number> => {
      const { client, peer } = await connected({ software, extensions: { [extension]: '1' } });
      let underWay = 0;
      let highest = 0;
      let next = 0;
      peer.serve(({ type, id }) => {
        if (type !== READDIR) {
          peer.send(type === OPENDIR ? handle(id, 'd') : status(id, 0));
          return;
        }
        underWay += 1;
        highest = Math.max(highest, underWay);
        const batch = batches[next];
        next += 1;
        setImmediate(() => {
          underWay -= 1;
          peer.send(batch === undefined ? status(id, 1) : names(id, batch));
        });
      });
      const entries = await listed(client);
      expect(entries.map(({ name }) => name)).toEqual(batches.map((_, place) => `${place}`));
      return highest;
    };
    expect(await most('OpenSSH_9.2p1', 'expand-path@openssh.com')).toBe(4);
    expect(await most('OpenSSH_9.2p1', 'lsetstat@openssh.com')).toBe(1);
    expect(await most('AsyncSSH_2.1', 'expand-path@openssh.com')).toBe(1);
  });

  test('is none where anything is refused, and its directory is closed', async () => {
    for (const refused of [OPENDIR, READDIR]) {
      const { client, peer } = await connected();
      const asked: number[] = [];
      peer.serve(({ type, id }) => {
        asked.push(type);
        if (type === refused) peer.send(status(id, 3, 'No'));
        else peer.send(type === OPENDIR ? handle(id, 'd') : status(id, 0));
      });
      const error = await reasonOf(listed(client));
      expect(error).toMatchObject({ kind: 'status', status: { code: 3 } });
      expect(error.message).toContain('did not list a directory: permission denied');
      await turns();
      expect(asked.filter((type) => type === CLOSE).length).toBe(refused === READDIR ? 1 : 0);
      expect(client.usable).toBe(true);
    }
  });

  test('that is left early closes its directory', async () => {
    const { client, peer } = await connected();
    const asked = serve(peer, [[{ name: 'a' }], [{ name: 'b' }]]);
    for await (const batch of client.list('/d')) {
      expect(batch.length).toBe(1);
      break;
    }
    await turns();
    expect(asked).toEqual([OPENDIR, READDIR, CLOSE]);
  });

  test('that is given up closes its directory, also where that opens only then', async () => {
    const { client, peer } = await connected();
    const wanted = new AbortController();
    const entries = listed(client, wanted.signal);
    entries.catch(() => {});
    const { id } = await peer.next();
    wanted.abort();
    expect(await reasonOf(entries)).toMatchObject({ kind: 'aborted' });
    peer.send(handle(id, 'late'));
    const close: Asked = await peer.next();
    expect([close.type, close.body.subarray(4)]).toEqual([CLOSE, Buffer.from('late')]);
  });

  test('without an end is broken off', async () => {
    const { client, peer } = await connected();
    peer.serve(({ type, id }) => peer.send(type === OPENDIR ? handle(id, 'd') : names(id, [])));
    const error = await reasonOf(listed(client));
    expect(error).toMatchObject({ kind: 'malformed', request: 'READDIR' });
    expect(error.message).toContain('nothing, again and again');
    expect(client.usable).toBe(false);
  });

  test('with more entries than its packets have room for is malformed', async () => {
    const { client, peer } = await connected();
    peer.serve(({ type, id }) =>
      peer.send(
        type === OPENDIR ? handle(id, 'd') : packet(104, u32(id), u32(0xffffffff), Buffer.alloc(100)),
      ),
    );
    expect(await reasonOf(listed(client))).toMatchObject({ kind: 'malformed' });
  });

  test('has an end in any case', async () => {
    const { client, peer } = await connected({ transferTimeoutMs: 30_000 });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    peer.serve(({ type, id }) => {
      if (type === READDIR) setTimeout(() => peer.send(names(id, [{ name: 'a' }])), 1_000);
      else peer.send(type === OPENDIR ? handle(id, 'd') : status(id, 0));
    });
    const entries = listed(client);
    entries.catch(() => {});
    for (let second = 0; second < 32; second += 1) {
      await vi.advanceTimersByTimeAsync(1_000);
      await turns();
    }
    expect((await reasonOf(entries)).message).toBe(
      'The listing from nas.example.net:22 took longer than 30 s, which is what timeouts.transfer allows.',
    );
  });
});
