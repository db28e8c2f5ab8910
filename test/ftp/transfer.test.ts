/*
 * Transfers, and every way in which one can go wrong: what the client says about it, what the server is left with, and
 * whether the connection may be used again. Nothing here is retried; that is for others to decide.
 */
import { createHash, randomBytes } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { FtpClient } from '../../src/ftp/client.js';
import type { Fault } from '../support/ftp-server/fault.js';
import { chunksOf, failure, Stage, type StageOptions } from './stage.js';

const passive = { mode: 'EPSV' } as const;

/** Larger than the kernel's buffers on loopback together, so that a transfer is really under way. */
const large = randomBytes(12 * 1024 * 1024);
const small = Buffer.from('0123456789');

const ways: Readonly<Record<string, StageOptions>> = {
  plain: {},
  'explicit TLS 1.2': {
    security: 'explicit',
    tlsVersions: { max: 'TLSv1.2' },
    requireSessionReuse: 'vsftpd',
  },
  'explicit TLS 1.3': {
    security: 'explicit',
    tlsVersions: { min: 'TLSv1.3' },
    requireSessionReuse: 'vsftpd',
  },
  'implicit TLS': { security: 'implicit', requireSessionReuse: 'proftpd' },
};
const each = Object.entries(ways);

async function* inPieces(bytes: Buffer, sizeBytes = 256 * 1024): AsyncGenerator<Buffer> {
  for (let from = 0; from < bytes.length; from += sizeBytes) yield bytes.subarray(from, from + sizeBytes);
}

async function retrieved(client: FtpClient, path: string): Promise<{ bytes: number; content: Buffer }> {
  const chunks: Buffer[] = [];
  const bytes = await client.retrieve(path, async (chunk) => void chunks.push(Buffer.from(chunk)), passive);
  return { bytes, content: Buffer.concat(chunks) };
}

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe.each(each)('%s', (_name, options) => {
  test.each([
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.from('x')],
    ['all bytes', Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))],
    ['line ends of all kinds', Buffer.from('a\r\nb\nc\rd\n\r')],
    ['12 MiB', large],
  ])('%s goes over and comes back byte for byte', async (_what, content) => {
    await using stage = await Stage.open(options);
    const client = await stage.login();
    expect(await client.store('/file', inPieces(content), passive)).toBe(content.length);
    expect(digest(await readFile(stage.directory.join('file')))).toBe(digest(content));
    const back = await retrieved(client, '/file');
    expect(back.bytes).toBe(content.length);
    expect(digest(back.content)).toBe(digest(content));
    expect(await client.workingDirectory()).toBe('/');
  });

  test('PASV in place of EPSV, whatever address it names', async () => {
    await using stage = await Stage.open({
      ...options,
      replies: { pasv: (_address, high, low) => `227 Entering Passive Mode (203,0,113,9,${high},${low}).` },
    });
    const client = await stage.login();
    expect(await client.store('/file', chunksOf(small), { mode: 'PASV' })).toBe(10);
    expect(await readFile(stage.directory.join('file'), 'utf8')).toBe('0123456789');
  });

  test('MLSD and LIST', async () => {
    await using stage = await Stage.open(options);
    await writeFile(stage.directory.join('a b'), 'hello');
    await writeFile(stage.directory.join('.hidden'), '');
    const client = await stage.login();
    const machine = await client.machineListing('/', passive);
    expect(machine.entries.map(({ name, sizeBytes }) => [name, sizeBytes])).toEqual([
      ['.hidden', 0],
      ['a b', 5],
    ]);
    expect(machine.unreadable).toBe(0);
    const plain = await client.listing(passive);
    expect(plain.entries.map(({ name }) => name)).toEqual(['.hidden', 'a b']);
  });
});

describe('session reuse', () => {
  const kinds = (['vsftpd', 'proftpd'] as const).flatMap((requireSessionReuse) =>
    (['TLSv1.2', 'TLSv1.3'] as const).map((version) => ({ requireSessionReuse, version })),
  );

  test.each(kinds)(
    'a hundred transfers in a row: $requireSessionReuse, $version',
    async ({ version, ...reuse }) => {
      await using stage = await Stage.open({
        security: 'explicit',
        tlsVersions: { min: version, max: version },
        ...reuse,
      });
      const client = await stage.login();
      for (let place = 0; place < 50; place += 1) {
        await client.store(`/file-${place}`, chunksOf(`content ${place}`), passive);
        expect((await retrieved(client, `/file-${place}`)).content.toString()).toBe(`content ${place}`);
      }
      const { journal } = stage.server;
      expect(journal.connections).toBe(1);
      expect(journal.dataConnections).toBe(100);
      expect(journal.resumedDataConnections).toBe(100);
    },
  );

  test.each([
    ['vsftpd', 'TLSv1.2', 522],
    ['vsftpd', 'TLSv1.3', 522],
    ['proftpd', 'TLSv1.2', 425],
    ['proftpd', 'TLSv1.3', 425],
  ] as const)(
    '%s with %s refuses a session that is not resumed, and the refusal is told',
    async (like, version, code) => {
      await using stage = await Stage.open({
        security: 'explicit',
        requireSessionReuse: like,
        tlsVersions: { min: version, max: version },
      });
      stage.server.script({ on: 'STOR', do: { kind: 'noResumption' } });
      const client = await stage.login();
      const error = await failure(client.store('/file', chunksOf(small), passive));
      expect(error).toMatchObject({ kind: 'reply', phase: 'transfer', reply: { code } });
      expect(error.message).toMatch(/reuse|resumed/);
    },
  );
});

describe('an upload that breaks', () => {
  const total = 1024 * 1024;
  const content = large.subarray(0, total);

  describe.each(each)('%s', (_name, options) => {
    test.each([0, 1, total - 1, total])('reset by the server at byte %i', async (atByte) => {
      await using stage = await Stage.open(options);
      stage.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte } });
      const client = await stage.login();
      const error = await failure(client.store('/file', inPieces(content), passive));
      // The server's words are the better explanation, and then the connection is in step.
      expect(error).toMatchObject({ kind: 'reply', phase: 'transfer', reply: { code: 426 } });
      expect(await client.size('/file')).toBe(atByte);
    });

    test.each([426, 451, 452, 552])('refused with %i in the middle', async (code) => {
      await using stage = await Stage.open(options);
      const reply = `${code} No more.`;
      stage.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: 300_000, reply } });
      const client = await stage.login();
      const error = await failure(client.store('/file', inPieces(large), passive));
      expect(error).toMatchObject({ kind: 'reply', phase: 'transfer', verb: 'STOR', reply: { code } });
      expect(await client.workingDirectory()).toBe('/');
    });

    test('the control connection is reset in the middle', async () => {
      await using stage = await Stage.open(options);
      stage.server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 300_000 } });
      const client = await stage.login();
      const storing = failure(client.store('/file', inPieces(large), passive));
      await stage.server.until((journal) => journal.receivedBytes >= 300_000);
      stage.server.drop('reset');
      expect(['lost', 'data']).toContain((await storing).kind);
      expect(client.ended).toBe(true);
    });

    test('it stalls', async () => {
      await using stage = await Stage.open(options);
      stage.server.script({ on: 'STOR', do: { kind: 'dataStall', atByte: 300_000 } });
      const client = await stage.login({ stallTimeoutMs: 150 });
      const error = await failure(client.store('/file', inPieces(large), passive));
      expect(error).toMatchObject({ kind: 'stalled', phase: 'transfer' });
      expect(error.message).toContain('150 ms');
      expect(client.ended).toBe(true);
      await stage.server.until((journal) => journal.open === 0);
      expect(stage.server.journal.stored).toBe(0);
    });

    test('it is aborted: the server never takes the part for the whole', async () => {
      await using stage = await Stage.open(options);
      const client = await stage.login();
      const controller = new AbortController();
      let given = 0;
      async function* source(): AsyncGenerator<Buffer> {
        for await (const chunk of inPieces(large)) {
          given += chunk.length;
          yield chunk;
          if (given >= large.length / 2) controller.abort();
        }
      }
      const error = await failure(client.store('/file', source(), { ...passive, signal: controller.signal }));
      expect(error.kind).toBe('aborted');
      expect(client.ended).toBe(true);
      await stage.server.until((journal) => journal.open === 0);
      expect(stage.server.journal.stored).toBe(0);
      expect(stage.server.journal.of('STOR')[0]?.replies.some((reply) => reply.startsWith('226'))).toBe(
        false,
      );
    });

    test('the source fails in the middle: its error passes through, and the server has no whole file', async () => {
      await using stage = await Stage.open(options);
      const client = await stage.login();
      const reason = new Error('The disk is gone');
      async function* source(): AsyncGenerator<Buffer> {
        yield large.subarray(0, 300_000);
        throw reason;
      }
      await expect(client.store('/file', source(), passive)).rejects.toBe(reason);
      expect(client.ended).toBe(true);
      await stage.server.until((journal) => journal.open === 0);
      expect(stage.server.journal.stored).toBe(0);
    });

    test('the source fails at once', async () => {
      await using stage = await Stage.open(options);
      const client = await stage.login();
      const reason = new Error('The disk is gone');
      // biome-ignore lint/correctness/useYield: it has nothing to give
      async function* source(): AsyncGenerator<Buffer> {
        throw reason;
      }
      await expect(client.store('/file', source(), passive)).rejects.toBe(reason);
      await stage.server.until((journal) => journal.open === 0);
      expect(stage.server.journal.stored).toBe(0);
    });

    test.each([550, 553, 452, 530])(
      'refused with %i in place of the 150: the next command works',
      async (code) => {
        await using stage = await Stage.open(options);
        stage.server.script({ on: 'STOR', do: { kind: 'reply', text: `${code} Not this one.` } });
        const client = await stage.login();
        const error = await failure(client.store('/file', inPieces(large), passive));
        expect(error).toMatchObject({ kind: 'reply', phase: 'transfer', reply: { code } });
        expect(client.ended).toBe(false);
        expect(await client.store('/file', chunksOf(small), passive)).toBe(10);
        expect(await client.size('/file')).toBe(10);
      },
    );
  });

  test('a source that is refused has been left when the refusal is told', async () => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'STOR', do: { kind: 'dataReset', atByte: 100_000, reply: '552 Quota.' } });
    const client = await stage.login();
    let left = false;
    async function* source(): AsyncGenerator<Buffer> {
      try {
        yield large.subarray(0, 1024 * 1024);
        // A slow disk: the refusal comes while it is being read.
        await new Promise((resolve) => setTimeout(resolve, 60));
        yield large;
      } finally {
        left = true;
      }
    }
    await failure(client.store('/file', source(), passive));
    expect(left).toBe(true);
  });
});

describe('final replies', () => {
  test('none: nobody knows whether the file is whole', async () => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'STOR', do: { kind: 'noFinalReply' } });
    const client = await stage.login({ replyTimeoutMs: 150 });
    const error = await failure(client.store('/file', chunksOf(small), passive));
    expect(error).toMatchObject({ kind: 'unconfirmed', phase: 'transfer', verb: 'STOR' });
    expect(client.ended).toBe(true);
  });

  test.each(['reset', 'close'] as const)('a %s in its place is unconfirmed too', async (kind) => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'STOR', do: { kind, at: 'final' } });
    const client = await stage.login();
    expect(await failure(client.store('/file', chunksOf(small), passive))).toMatchObject({
      kind: 'unconfirmed',
    });
    expect(client.ended).toBe(true);
  });

  test('half of it is none', async () => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'STOR', do: { kind: 'cut', atByte: 20, ending: 'close' } });
    const client = await stage.login();
    expect(await failure(client.store('/file', chunksOf(small), passive))).toMatchObject({
      kind: 'unconfirmed',
    });
  });

  describe.each(each)('%s', (_name, options) => {
    test.each<[string, Fault]>([
      ['226 before the data', { kind: 'finalReplyFirst' }],
      ['226 before the 150', { kind: 'finalReplyFirst', before: 'mark' }],
      ['226 twice', { kind: 'doubleFinal' }],
      ['226 byte by byte', { kind: 'split', offsets: 'every-byte', pauseMs: 0 }],
      ['226 late', { kind: 'delay', ms: 40, at: 'final' }],
      ['150 late', { kind: 'delay', ms: 40, at: 'mark' }],
      ['150 and 226 in one packet', { kind: 'holdBack' }],
    ])('%s: all bytes are there', async (name, fault) => {
      await using stage = await Stage.open(options);
      const client = await stage.login();
      // What is held back comes with the next reply, so there has to be one.
      const content = name.includes('one packet') ? small : large;
      if (fault.kind === 'holdBack') {
        stage.server.script({
          on: 'STOR',
          do: [
            { kind: 'bytes', pieces: [], at: 'mark' },
            { kind: 'prepend', bytes: '150 Here.\r\n' },
          ],
        });
      } else {
        stage.server.script({ on: 'STOR', do: fault });
        stage.server.script({ on: 'RETR', do: fault });
      }
      expect(await client.store('/file', inPieces(content), passive)).toBe(content.length);
      expect(digest(await readFile(stage.directory.join('file')))).toBe(digest(content));
      expect(digest((await retrieved(client, '/file')).content)).toBe(digest(content));
      expect(await client.size('/file')).toBe(content.length);
    });
  });

  test('a 226 over a short file is believed here; the size tells', async () => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'STOR', do: { kind: 'storeShort', sizeBytes: 4 } });
    const client = await stage.login();
    expect(await client.store('/file', chunksOf(small), passive)).toBe(10);
    expect(await client.size('/file')).toBe(4);
  });

  test('a download that was cut in good order counts its bytes', async () => {
    await using stage = await Stage.open({ security: 'explicit' });
    await writeFile(stage.directory.join('file'), small);
    stage.server.script({ on: 'RETR', do: { kind: 'dataClose', atByte: 4 } });
    const client = await stage.login();
    expect((await retrieved(client, '/file')).bytes).toBe(4);
  });
});

describe('a download that breaks', () => {
  describe.each(each)('%s', (_name, options) => {
    test.each([0, 1, 9, 10])('reset at byte %i', async (atByte) => {
      await using stage = await Stage.open(options);
      await writeFile(stage.directory.join('file'), small);
      stage.server.script({ on: 'RETR', do: { kind: 'dataReset', atByte } });
      const client = await stage.login();
      expect(await failure(retrieved(client, '/file'))).toMatchObject({
        kind: 'reply',
        reply: { code: 426 },
      });
      expect(await client.size('/file')).toBe(10);
    });

    test('it stalls', async () => {
      await using stage = await Stage.open(options);
      await writeFile(stage.directory.join('file'), small);
      stage.server.script({ on: 'RETR', do: { kind: 'dataStall', atByte: 4 } });
      const client = await stage.login({ stallTimeoutMs: 150 });
      expect(await failure(retrieved(client, '/file'))).toMatchObject({ kind: 'stalled' });
      expect(client.ended).toBe(true);
    });

    test('the sink fails: its error passes through', async () => {
      await using stage = await Stage.open(options);
      await writeFile(stage.directory.join('file'), large);
      const client = await stage.login();
      const reason = new Error('No space left here');
      const sink = async (): Promise<void> => {
        throw reason;
      };
      await expect(client.retrieve('/file', sink, passive)).rejects.toBe(reason);
      expect(client.ended).toBe(true);
    });

    test('it is aborted', async () => {
      await using stage = await Stage.open(options);
      await writeFile(stage.directory.join('file'), large);
      const client = await stage.login();
      const controller = new AbortController();
      const sink = async (): Promise<void> => controller.abort();
      const error = await failure(client.retrieve('/file', sink, { ...passive, signal: controller.signal }));
      expect(error.kind).toBe('aborted');
      expect(client.ended).toBe(true);
    });

    test('what is not there: 550, and the next command works', async () => {
      await using stage = await Stage.open(options);
      const client = await stage.login();
      expect(await failure(retrieved(client, '/missing'))).toMatchObject({
        kind: 'reply',
        reply: { code: 550 },
      });
      expect(await client.workingDirectory()).toBe('/');
    });
  });

  test('a slow sink is no stall', async () => {
    await using stage = await Stage.open();
    await writeFile(stage.directory.join('file'), small);
    const client = await stage.login({ stallTimeoutMs: 40 });
    const sink = () => new Promise<void>((resolve) => setTimeout(resolve, 120));
    expect(await client.retrieve('/file', sink, passive)).toBe(10);
  });
});

describe('the data connection', () => {
  test('a port where nobody listens', async () => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'EPSV', do: { kind: 'refuseData' } });
    stage.server.script({ on: 'STOR', do: { kind: 'hang' } });
    const client = await stage.login({ replyTimeoutMs: 150 });
    const error = await failure(client.store('/file', chunksOf(small), passive));
    expect(error).toMatchObject({ kind: 'data', phase: 'data-setup', code: 'ECONNREFUSED' });
    expect(client.ended).toBe(true);
  });

  test('and a server that says so: its reply is told, and the session goes on', async () => {
    await using stage = await Stage.open({ dataTimeoutMs: 50 });
    stage.server.script({ on: 'EPSV', do: { kind: 'refuseData' } });
    const client = await stage.login();
    const error = await failure(client.store('/file', chunksOf(small), passive));
    expect(error).toMatchObject({ kind: 'reply', phase: 'transfer', reply: { code: 425 } });
    expect(await client.store('/file', chunksOf(small), passive)).toBe(10);
  });

  test.each(['reset', 'close'] as const)('a %s as soon as it stands', async (kind) => {
    await using stage = await Stage.open({ dataTimeoutMs: 50 });
    stage.server.script({ on: 'data', do: { kind } });
    const client = await stage.login();
    const error = await failure(client.store('/file', inPieces(large), passive));
    expect(error).toMatchObject({ kind: 'reply', reply: { code: 425 } });
    expect(await client.workingDirectory()).toBe('/');
  });

  test.each(['hang', 'reset', 'close'] as const)('its TLS handshake: %s', async (kind) => {
    await using stage = await Stage.open({ security: 'explicit' });
    stage.server.script({ on: 'data-tls', do: { kind } });
    const client = await stage.login({ connectTimeoutMs: 300, replyTimeoutMs: 300 });
    const error = await failure(client.store('/file', chunksOf(small), passive));
    expect(['timeout data-setup', 'handshake data-setup', 'data data-setup', 'reply transfer']).toContain(
      `${error.kind} ${error.phase}`,
    );
    await stage.server.until((journal) => journal.stored === 0);
    expect(client.ended).toBe(error.kind !== 'reply');
  });

  test.each([
    ['EPSV', '229 Entering Extended Passive Mode (|||0|)'],
    ['EPSV', '229 Entering Extended Passive Mode'],
    ['PASV', '227 Entering Passive Mode (127,0,0,1,300,1)'],
    ['PASV', '227 Entering Passive Mode'],
  ] as const)('%s answered with %j', async (form, text) => {
    await using stage = await Stage.open();
    stage.server.script({ on: form, do: { kind: 'reply', text } });
    const client = await stage.login();
    const error = await failure(client.store('/file', chunksOf(small), { mode: form }));
    expect(error).toMatchObject({ kind: 'reply', phase: 'data-setup', verb: form });
    expect(error.message).toContain('without a usable port');
    expect(stage.server.journal.verbs()).not.toContain('STOR');
    expect(await client.store('/file', chunksOf(small), { mode: form })).toBe(10);
  });

  test('an abort before anything was sent leaves all as it is', async () => {
    await using stage = await Stage.open();
    const client = await stage.login();
    const signal = AbortSignal.abort();
    expect(await failure(client.store('/file', chunksOf(small), { ...passive, signal }))).toMatchObject({
      kind: 'aborted',
    });
    expect(stage.server.journal.verbs()).not.toContain('EPSV');
    expect(client.ended).toBe(false);
  });

  test('an abort while the port is asked for: STOR is never sent', async () => {
    await using stage = await Stage.open();
    stage.server.script({ on: 'EPSV', do: { kind: 'delay', ms: 50 } });
    const client = await stage.login();
    const controller = new AbortController();
    const storing = failure(
      client.store('/file', chunksOf(small), { ...passive, signal: controller.signal }),
    );
    await stage.server.waitFor('EPSV');
    controller.abort();
    expect(await storing).toMatchObject({ kind: 'aborted' });
    expect(await client.workingDirectory()).toBe('/');
    expect(stage.server.journal.verbs()).not.toContain('STOR');
  });

  test('a signal outlives many transfers, and none of them stays with it', async () => {
    await using stage = await Stage.open({ security: 'explicit' });
    const client = await stage.login();
    const { signal } = new AbortController();
    for (let place = 0; place < 5; place += 1) {
      await client.store('/file', chunksOf(small), { ...passive, signal });
      expect(getEventListeners(signal, 'abort')).toEqual([]);
      await client.retrieve('/file', async () => {}, { ...passive, signal });
      expect(getEventListeners(signal, 'abort')).toEqual([]);
    }
  });
});

describe('listings', () => {
  test('one that says it was truncated is incomplete', async () => {
    await using stage = await Stage.open({ listingLimit: 1 });
    await writeFile(stage.directory.join('a'), '');
    await writeFile(stage.directory.join('b'), '');
    const client = await stage.login();
    expect((await client.machineListing('/', passive)).ending).toBe('truncated');
    expect((await client.listing(passive)).ending).toBe('truncated');
  });

  test('a server that takes `-a` for a name is asked without it', async () => {
    await using stage = await Stage.open();
    await writeFile(stage.directory.join('a'), '');
    stage.server.script({
      on: /^LIST -a/,
      nth: 'every',
      do: { kind: 'reply', text: '550 -a: No such file.' },
    });
    const client = await stage.login();
    expect((await client.listing(passive)).entries.map(({ name }) => name)).toEqual(['a']);
  });

  test('one without end is refused', async () => {
    await using stage = await Stage.open();
    const bytes = Buffer.alloc(65 * 1024 * 1024, 'type=file;size=1; abcdefghijkl\r\n');
    stage.server.script({ on: 'MLSD', do: { kind: 'content', bytes } });
    const client = await stage.login();
    const error = await failure(client.machineListing('/', passive));
    expect(error).toMatchObject({ kind: 'malformed', phase: 'transfer' });
    expect(client.ended).toBe(true);
  });
});

test('a reset in the middle of TLS never harms this process', async () => {
  // Node frees what it still uses when a socket is reset inside a TLS callback: ended here in its every moment.
  for (let moment = 0; moment < 40; moment += 1) {
    await using stage = await Stage.open({ security: 'explicit' });
    const client = await stage.login();
    const controller = new AbortController();
    const storing = failure(
      client.store('/file', inPieces(large.subarray(0, 100_000), 1000), {
        ...passive,
        signal: controller.signal,
      }),
    ).catch(() => undefined);
    await stage.server.waitFor('STOR');
    for (let turn = 0; turn < moment; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    if (moment % 2 === 0) controller.abort();
    else client.reset('the test wants it');
    await storing;
  }
});
