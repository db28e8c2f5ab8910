import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Handle, SftpClient } from '../../src/sftp/client.js';
import { SftpError } from '../../src/sftp/errors.js';
import { type Asked, connected, fields, handle, type Peer, status, turns } from './peer.js';

afterEach(() => {
  vi.useRealTimers();
});

function stopClock(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
}

async function opened(client: SftpClient, peer: Peer, name = 'h'): Promise<Handle> {
  const file = client.open('/a', { access: 'truncate' });
  peer.send(handle((await peer.next()).id, name));
  return file;
}

/** One WRITE, taken apart. */
function written({ body }: Asked): { name: string; offset: number; content: Buffer } {
  const reader = fields(body);
  return { name: reader.text().toString(), offset: reader.uint64(), content: reader.text() };
}

/** Gives the chunks in one buffer that is used again and again, and tells where it is. */
function reading(content: Buffer, chunkBytes: number) {
  const progress = { given: 0, left: 'no' as 'no' | 'yes' };
  const chunks = async function* (): AsyncGenerator<Buffer> {
    const buffer = Buffer.alloc(chunkBytes);
    try {
      for (let at = 0; at < content.length; at += chunkBytes) {
        const bytes = content.copy(buffer, 0, at, at + chunkBytes);
        progress.given += bytes;
        yield buffer.subarray(0, bytes);
        buffer.fill(0xee);
      }
    } finally {
      progress.left = 'yes';
    }
  };
  return { chunks: chunks(), progress };
}

function sample(bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 1) content[at] = (at * 7 + (at >> 8)) & 0xff;
  return content;
}

async function reasonOf(promise: Promise<unknown>): Promise<SftpError> {
  const reason = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (reason instanceof SftpError) return reason;
  throw new Error(`no SftpError, but ${String(reason)}`);
}

describe('an upload', () => {
  test('writes every byte where it belongs, in whatever order the answers come', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: 400_000 }),
        fc.integer({ min: 1_000, max: 200_000 }),
        fc.nat({ max: 1_000_000 }),
        fc.infiniteStream(fc.nat({ max: 1_000 })),
        async (bytes, chunkBytes, fromByte, choices) => {
          const { client, peer } = await connected();
          const file = await opened(client, peer);
          const content = sample(bytes);
          const stored = Buffer.alloc(bytes, 0xdd);
          const waiting: number[] = [];
          peer.serve((asked) => {
            const { offset, content: piece } = written(asked);
            expect(piece.length).toBeLessThanOrEqual(32_768);
            piece.copy(stored, offset - fromByte);
            waiting.push(asked.id);
            setImmediate(() => {
              const [id] = waiting.splice((choices.next().value as number) % waiting.length, 1);
              if (id !== undefined) peer.send(status(id, 0));
            });
          });
          expect(await file.upload(reading(content, chunkBytes).chunks, { fromByte })).toBe(bytes);
          expect(stored.equals(content)).toBe(true);
          client.reset();
        },
      ),
      { numRuns: 25 },
    );
  });

  test('takes what the server takes at once, in equal parts', async () => {
    const { client, peer } = await connected({ limits: [262_144, 261_120, 10_000, 0] });
    const file = await opened(client, peer);
    const sizes: number[] = [];
    peer.serve((asked) => {
      sizes.push(written(asked).content.length);
      peer.send(status(asked.id, 0));
    });
    await file.upload(reading(sample(25_000), 25_000).chunks);
    expect(sizes).toEqual([8_334, 8_334, 8_332]);
  });

  test('of nothing asks for nothing', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    expect(await file.upload(reading(Buffer.alloc(0), 10).chunks)).toBe(0);
    await turns();
    expect(peer.asked).toEqual([]);
  });

  test('reads no further ahead than the window', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const source = reading(sample(2_000_000), 50_000);
    const uploaded = file.upload(source.chunks);
    uploaded.catch(() => {});
    await turns(20);
    const underWay = peer.asked.reduce((sum, asked) => sum + written(asked).content.length, 0);
    expect(underWay).toBeGreaterThan(200_000);
    expect(underWay).toBeLessThanOrEqual(256 * 1024);
    expect(source.progress.given).toBeLessThanOrEqual(underWay + 50_000);
    client.reset();
    await reasonOf(uploaded);
  });

  test('widens the window where answers come soon, and never beyond 8 MiB', async () => {
    const { client, peer } = await connected({ limits: [262_144, 261_120, 261_120, 0] });
    const file = await opened(client, peer);
    let underWay = 0;
    let most = 0;
    peer.serve((asked) => {
      const { length } = written(asked).content;
      underWay += length;
      most = Math.max(most, underWay);
      setTimeout(() => {
        underWay -= length;
        peer.send(status(asked.id, 0));
      }, 5);
    });
    const zeros = async function* (): AsyncGenerator<Buffer> {
      const chunk = Buffer.alloc(1 << 20);
      for (let sent = 0; sent < 60; sent += 1) yield chunk;
    };
    expect(await file.upload(zeros())).toBe(60 << 20);
    expect(most).toBeGreaterThan(4 << 20);
    expect(most).toBeLessThanOrEqual(8 << 20);
  });

  test('gives others their part of the window', async () => {
    const { client, peer } = await connected();
    const files = [await opened(client, peer, 'one'), await opened(client, peer, 'two')];
    const order: string[] = [];
    const uploads = files.map((file) => file.upload(reading(sample(1_000_000), 1_000_000).chunks));
    peer.serve((asked) => {
      order.push(written(asked).name);
      setImmediate(() => peer.send(status(asked.id, 0)));
    });
    await Promise.all(uploads);
    // The first to come fills the window; from there on they take turns.
    const later = order.slice(16, 40);
    expect(later.filter((name) => name === 'one').length).toBe(12);
  });

  test('sends nothing more once a write was refused', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const source = reading(sample(2_000_000), 100_000);
    const uploaded = file.upload(source.chunks);
    uploaded.catch(() => {});
    await turns(20);
    const [first, second, ...rest] = peer.asked.splice(0);
    peer.send(status(first?.id ?? 0, 0), status(second?.id ?? 0, 14, 'Disk full'));
    const error = await reasonOf(uploaded);
    expect(error).toMatchObject({
      kind: 'status',
      phase: 'transfer',
      request: 'WRITE',
      status: { code: 14, words: 'Disk full' },
    });
    expect(error.message).toBe(
      'nas.example.net:22 did not write to a file: no space is left on the file system (it answered WRITE with 14 Disk full).',
    );
    expect(source.progress.left).toBe('yes');
    const { length } = peer.asked;
    peer.send(...rest.map(({ id }) => status(id, 0)));
    await turns(20);
    expect([length, peer.asked.length]).toEqual([0, 0]);
    const closed = file.close();
    peer.serve(({ id }) => peer.send(status(id, 0)));
    await closed;
  });

  test('ends at once where it is not wanted any more, and leaves its source', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const source = reading(sample(2_000_000), 100_000);
    const wanted = new AbortController();
    const uploaded = file.upload(source.chunks, { signal: wanted.signal });
    uploaded.catch(() => {});
    await turns(20);
    const before = peer.asked.length;
    wanted.abort(new Error('enough'));
    const error = await reasonOf(uploaded);
    expect(error).toMatchObject({ kind: 'aborted', phase: 'transfer' });
    expect(error.cause).toBe(wanted.signal.reason);
    expect(source.progress.left).toBe('yes');
    peer.send(...peer.asked.map(({ id }) => status(id, 0)));
    await turns(20);
    expect(peer.asked.length).toBe(before);
    const unread = reading(sample(10), 10);
    await reasonOf(file.upload(unread.chunks, { signal: AbortSignal.abort() }));
    expect(unread.progress.given).toBe(0);
    expect(client.usable).toBe(true);
  });

  test('leaves the window to others when it is given up', async () => {
    const { client, peer } = await connected();
    const [one, two] = [await opened(client, peer, 'one'), await opened(client, peer, 'two')];
    const wanted = new AbortController();
    const given = one.upload(reading(sample(2_000_000), 100_000).chunks, { signal: wanted.signal });
    given.catch(() => {});
    await turns(20);
    const other = two.upload(reading(sample(600_000), 100_000).chunks);
    await turns();
    wanted.abort();
    await reasonOf(given);
    peer.serve((asked) => setImmediate(() => peer.send(status(asked.id, 0))));
    expect(await other).toBe(600_000);
  });

  test('is stalled where no answer comes', async () => {
    const { client, peer } = await connected({ stallTimeoutMs: 5_000 });
    const file = await opened(client, peer);
    stopClock();
    const uploaded = file.upload(reading(sample(100_000), 100_000).chunks);
    uploaded.catch(() => {});
    await turns();
    await vi.advanceTimersByTimeAsync(4_000);
    peer.send(status(peer.asked.shift()?.id ?? 0, 0));
    await turns();
    await vi.advanceTimersByTimeAsync(4_990);
    expect(client.usable).toBe(true);
    await vi.advanceTimersByTimeAsync(20);
    const error = await reasonOf(uploaded);
    expect(error).toMatchObject({ kind: 'stalled', phase: 'transfer' });
    expect(error.message).toBe('The upload to nas.example.net:22 moved no byte for 5 s.');
    client.reset();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is not stalled where its source takes its time', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    stopClock();
    peer.serve((asked) => peer.send(status(asked.id, 0)));
    const slow = async function* (): AsyncGenerator<Buffer> {
      yield Buffer.alloc(10);
      await new Promise((resolve) => setTimeout(resolve, 50_000));
      yield Buffer.alloc(10);
    };
    const uploaded = file.upload(slow());
    await turns();
    await vi.advanceTimersByTimeAsync(50_000);
    expect(await uploaded).toBe(20);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('has an end in any case', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    stopClock();
    peer.serve((asked) => peer.send(status(asked.id, 0)));
    const endless = async function* (): AsyncGenerator<Buffer> {
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        yield Buffer.alloc(10);
      }
    };
    const uploaded = file.upload(endless());
    uploaded.catch(() => {});
    for (let second = 0; second < 62; second += 1) {
      await vi.advanceTimersByTimeAsync(1_000);
      await turns(2);
    }
    expect((await reasonOf(uploaded)).message).toBe(
      'The upload to nas.example.net:22 took longer than 1 min, which is what timeouts.transfer allows.',
    );
  });

  test('fails with its session', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const source = reading(sample(2_000_000), 100_000);
    const uploaded = file.upload(source.chunks);
    uploaded.catch(() => {});
    await turns(20);
    peer.end();
    expect(await reasonOf(uploaded)).toMatchObject({ kind: 'lost', request: 'WRITE' });
    expect(source.progress.left).toBe('yes');
  });

  test('passes the error of its source on', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const reason = new Error('the file was changed');
    const broken = async function* (): AsyncGenerator<Buffer> {
      yield Buffer.alloc(10);
      throw reason;
    };
    await expect(file.upload(broken())).rejects.toBe(reason);
    expect(await reasonOf(file.upload(broken(), { fromByte: -1 }))).toMatchObject({ kind: 'argument' });
    expect(client.usable).toBe(true);
  });
});
