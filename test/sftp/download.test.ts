import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Handle, SftpClient } from '../../src/sftp/client.js';
import { SftpError } from '../../src/sftp/errors.js';
import { connected, data, fields, handle, type Peer, status, turns } from './peer.js';

afterEach(() => {
  vi.useRealTimers();
});

function stopClock(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
}

async function opened(client: SftpClient, peer: Peer): Promise<Handle> {
  const file = client.open('/a', { access: 'read' });
  peer.send(handle((await peer.next()).id, 'h'));
  return file;
}

function sample(bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 1) content[at] = (at * 7 + (at >> 8)) & 0xff;
  return content;
}

interface Read {
  readonly id: number;
  readonly offset: number;
  readonly bytes: number;
}

function readOf({ id, body }: { id: number; body: Buffer }): Read {
  const reader = fields(body);
  reader.text();
  return { id, offset: reader.uint64(), bytes: reader.uint32() };
}

/** Answers reads as a file would, with at most so many bytes each. */
function answer({ id, offset, bytes }: Read, content: Buffer, most = bytes): Buffer {
  const piece = content.subarray(offset, offset + Math.min(bytes, most));
  return piece.length === 0 ? status(id, 1) : data(id, piece);
}

async function reasonOf(promise: Promise<unknown>): Promise<SftpError> {
  const reason = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (reason instanceof SftpError) return reason;
  throw new Error(`no SftpError, but ${String(reason)}`);
}

/** Gathers what is given; a buffer of the engine may be gone afterwards. */
function gathering() {
  const pieces: Buffer[] = [];
  return {
    sink: async (chunk: Buffer): Promise<void> => void pieces.push(Buffer.from(chunk)),
    content: (): Buffer => Buffer.concat(pieces),
  };
}

describe('a download', () => {
  test('gives every byte in order, however short the answers and in whatever order they come', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: 300_000 }),
        fc.option(fc.nat({ max: 320_000 }), { nil: undefined }),
        fc.nat({ max: 50_000 }),
        fc.constantFrom(700, 5_000, 20_000, 32_768, 1_000_000),
        fc.infiniteStream(fc.nat({ max: 1_000 })),
        async (bytes, sizeBytes, fromByte, most, choices) => {
          const { client, peer } = await connected();
          const file = await opened(client, peer);
          const content = sample(bytes);
          const waiting: Read[] = [];
          const choose = (below: number): number => (choices.next().value as number) % below;
          peer.serve((asked) => {
            waiting.push(readOf(asked));
            setImmediate(() => {
              const [read] = waiting.splice(choose(waiting.length), 1);
              if (read !== undefined) peer.send(answer(read, content, most - choose(Math.ceil(most / 2))));
            });
          });
          const got = gathering();
          const given = await file.download(got.sink, { fromByte, sizeBytes });
          const wanted = content.subarray(fromByte);
          expect(given).toBe(wanted.length);
          expect(got.content().equals(wanted)).toBe(true);
          client.reset();
        },
      ),
      { numRuns: 40 },
    );
  });

  test('of a file of a known size asks once for each part, and once for the end', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const content = sample(70_000);
    const reads: Read[] = [];
    peer.serve((asked) => {
      reads.push(readOf(asked));
      peer.send(answer(readOf(asked), content));
    });
    expect(await file.download(gathering().sink, { sizeBytes: 70_000 })).toBe(70_000);
    expect(reads.map(({ offset, bytes }) => [offset, bytes])).toEqual([
      [0, 32_768],
      [32_768, 32_768],
      [65_536, 4_464],
      [70_000, 4_096],
    ]);
    expect(peer.writes.at(-1)).toBeGreaterThan(100);
  });

  test('learns how much the server gives at once', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const content = sample(400_000);
    const reads: Read[] = [];
    peer.serve((asked) => {
      reads.push(readOf(asked));
      setImmediate(() => peer.send(answer(readOf(asked), content, 20_000)));
    });
    const got = gathering();
    await file.download(got.sink, { sizeBytes: 400_000 });
    expect(got.content().equals(content)).toBe(true);
    const sizes = reads.map(({ bytes }) => bytes);
    expect(Math.max(...sizes)).toBe(32_768);
    reads.length = 0;
    await file.download(gathering().sink, { sizeBytes: 400_000 });
    expect(Math.max(...reads.map(({ bytes }) => bytes))).toBe(20_000);
    expect(reads.length).toBe(21);
  });

  test('ends where the file ends, be that before or behind its size', async () => {
    for (const sizeBytes of [0, 1, 99_999, 100_000, 100_001, 5_000_000, undefined]) {
      const { client, peer } = await connected();
      const file = await opened(client, peer);
      const content = sample(100_000);
      peer.serve((asked) => setImmediate(() => peer.send(answer(readOf(asked), content))));
      const got = gathering();
      expect(await file.download(got.sink, { sizeBytes })).toBe(100_000);
      expect(got.content().equals(content)).toBe(true);
    }
  });

  test('goes on where the file grows while it is read', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const content = sample(200_000);
    let length = 40_000;
    peer.serve((asked) => {
      const read = readOf(asked);
      setImmediate(() => {
        peer.send(answer(read, content.subarray(0, length)));
        length = Math.min(200_000, length + 17_000);
      });
    });
    const got = gathering();
    expect(await file.download(got.sink)).toBe(200_000);
    expect(got.content().equals(content)).toBe(true);
  });

  test('goes on at an end that data lies behind, and not for ever', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const content = sample(100_000);
    // Says of the second part that the file ends there, and gives all others.
    peer.serve((asked) => {
      const read = readOf(asked);
      peer.send(read.offset === 32_768 ? status(read.id, 1) : answer(read, content));
    });
    const error = await reasonOf(file.download(gathering().sink, { sizeBytes: 100_000 }));
    expect(error).toMatchObject({ kind: 'mismatch', request: 'READ' });
    expect(error.message).toContain('says that the file ends, and has data behind that');
  });

  test('ends at an answer without a byte as well', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const content = sample(50_000);
    peer.serve((asked) => {
      const { id, offset, bytes } = readOf(asked);
      peer.send(data(id, content.subarray(offset, offset + bytes)));
    });
    const got = gathering();
    expect(await file.download(got.sink)).toBe(50_000);
    expect(got.content().equals(content)).toBe(true);
  });

  test('of a file without an end is broken off far behind its size', async () => {
    const { client, peer } = await connected({ limits: [262_144, 261_120, 261_120, 0] });
    const file = await opened(client, peer);
    const zeros = Buffer.alloc(261_120);
    peer.serve((asked) => {
      const { id, bytes } = readOf(asked);
      setImmediate(() => peer.send(data(id, zeros.subarray(0, bytes))));
    });
    let given = 0;
    const sink = async (chunk: Buffer): Promise<void> => {
      given += chunk.length;
    };
    const error = await reasonOf(file.download(sink, { sizeBytes: 10 }));
    expect(error).toMatchObject({ kind: 'mismatch' });
    expect(error.message).toMatch(/sends more than \d+ bytes of a file that has 10\.$/);
    expect(given).toBeLessThanOrEqual(17 * 1024 * 1024);
  });

  test('waits for its sink, and holds no more than the window meanwhile', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const content = Buffer.alloc(20_000_000, sample(1_009));
    let asked = 0;
    peer.serve((one) => {
      const read = readOf(one);
      asked += read.bytes;
      setImmediate(() => peer.send(answer(read, content)));
    });
    let resume: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      resume = resolve;
    });
    const got = gathering();
    const downloaded = file.download(
      async (chunk) => {
        await held;
        await got.sink(chunk);
      },
      { sizeBytes: 20_000_000 },
    );
    await turns(400);
    expect(asked).toBeLessThanOrEqual(8 * 1024 * 1024);
    expect(asked).toBeGreaterThan(200_000);
    resume();
    expect(await downloaded).toBe(20_000_000);
    expect(got.content().equals(content)).toBe(true);
  });

  test('gives in one piece what has come while the sink was busy, in few buffers', async () => {
    const { client, peer } = await connected({ limits: [262_144, 261_120, 261_120, 0] });
    const file = await opened(client, peer);
    const content = Buffer.alloc(30_000_000, sample(1_009));
    peer.serve((asked) => peer.send(answer(readOf(asked), content)));
    const buffers = new Set<ArrayBufferLike>();
    const lengths: number[] = [];
    const got = gathering();
    await file.download(
      async (chunk) => {
        buffers.add(chunk.buffer);
        lengths.push(chunk.length);
        await turns(20);
        await got.sink(chunk);
      },
      { sizeBytes: content.length },
    );
    expect(got.content().equals(content)).toBe(true);
    expect(Math.max(...lengths)).toBe(4 * 261_120);
    expect(lengths.length).toBeLessThan(40);
    // As many as the window has room for, one at each of its ends, and one for what is left at the end of the file.
    expect(buffers.size).toBeLessThanOrEqual(12);
  });

  test('gives what is there before it waits for more', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const content = sample(100_000);
    let held: Read | undefined;
    peer.serve((asked) => {
      const read = readOf(asked);
      if (read.offset === 65_536) held = read;
      else peer.send(answer(read, content));
    });
    const got = gathering();
    const downloaded = file.download(got.sink, { sizeBytes: 100_000 });
    await turns(20);
    expect(got.content().equals(content.subarray(0, 65_536))).toBe(true);
    if (held !== undefined) peer.send(answer(held, content));
    expect(await downloaded).toBe(100_000);
    expect(got.content().equals(content)).toBe(true);
  });

  test('runs beside others, and each gets its own', async () => {
    const { client, peer } = await connected();
    const contents = [sample(500_000), sample(400_000).reverse(), sample(300_000)];
    const files: Handle[] = [];
    for (const [place] of contents.entries()) {
      const file = client.open(`/${place}`, { access: 'read' });
      peer.send(handle((await peer.next()).id, `${place}`));
      files.push(await file);
    }
    peer.serve((asked) => {
      const content = contents[Number(fields(asked.body).text())] ?? Buffer.alloc(0);
      setImmediate(() => peer.send(answer(readOf(asked), content)));
    });
    await Promise.all(
      files.map(async (file, place) => {
        const got = gathering();
        await file.download(got.sink, { sizeBytes: place === 1 ? undefined : contents[place]?.length });
        expect(got.content().equals(contents[place] ?? Buffer.alloc(0))).toBe(true);
      }),
    );
  });

  test('fails with the first part that is refused, behind all that came before', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const content = sample(100_000);
    peer.serve((asked) => {
      const read = readOf(asked);
      peer.send(read.offset === 65_536 ? status(read.id, 4, 'I/O error') : answer(read, content));
    });
    const got = gathering();
    const error = await reasonOf(file.download(got.sink, { sizeBytes: 100_000 }));
    expect(error).toMatchObject({ kind: 'status', phase: 'transfer', request: 'READ' });
    expect(got.content().equals(content.subarray(0, 65_536))).toBe(true);
    expect(client.usable).toBe(true);
  });

  test('passes the error of its sink on, and asks for nothing more', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const content = sample(3_000_000);
    let reads = 0;
    peer.serve((asked) => {
      reads += 1;
      setImmediate(() => peer.send(answer(readOf(asked), content)));
    });
    const reason = new Error('no space left here');
    await expect(
      file.download(
        async () => {
          throw reason;
        },
        { sizeBytes: 3_000_000 },
      ),
    ).rejects.toBe(reason);
    await turns();
    const before = reads;
    await turns(20);
    expect(reads).toBe(before);
    // And the window is free again.
    expect(await file.download(gathering().sink, { sizeBytes: 3_000_000 })).toBe(3_000_000);
  });

  test('ends at once where it is not wanted any more', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const wanted = new AbortController();
    const downloaded = file.download(gathering().sink, { signal: wanted.signal });
    downloaded.catch(() => {});
    await turns();
    wanted.abort();
    expect(await reasonOf(downloaded)).toMatchObject({ kind: 'aborted', phase: 'transfer' });
    const content = sample(10);
    peer.serve((asked) => peer.send(answer(readOf(asked), content)));
    expect(await file.download(gathering().sink)).toBe(10);
    expect(await reasonOf(file.download(gathering().sink, { fromByte: 0.5 }))).toMatchObject({
      kind: 'argument',
    });
  });

  test('is stalled where nothing comes of it, and not while an answer trickles in', async () => {
    const { client, peer } = await connected({ stallTimeoutMs: 5_000, replyTimeoutMs: 50_000 });
    const file = await opened(client, peer);
    stopClock();
    const downloaded = file.download(gathering().sink);
    downloaded.catch(() => {});
    await turns();
    const stream = data(readOf(peer.asked.shift() ?? { id: 0, body: Buffer.alloc(0) }).id, sample(100));
    for (const byte of stream.subarray(0, 30)) {
      await vi.advanceTimersByTimeAsync(4_000);
      peer.send(Buffer.from([byte]));
      await turns(1);
    }
    await vi.advanceTimersByTimeAsync(4_990);
    await vi.advanceTimersByTimeAsync(20);
    expect((await reasonOf(downloaded)).message).toBe(
      'The download from nas.example.net:22 moved no byte for 5 s.',
    );
    client.reset();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('fails with its session', async () => {
    const { client, peer } = await connected();
    const file = await opened(client, peer);
    const downloaded = file.download(gathering().sink);
    downloaded.catch(() => {});
    await turns();
    client.reset();
    expect(await reasonOf(downloaded)).toMatchObject({ kind: 'aborted' });
  });
});
