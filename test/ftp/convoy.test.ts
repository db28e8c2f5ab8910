/*
 * The convoy: which commands its steps become, in which order, and how the replies find their way back. On a real
 * control connection to the scripted server, since a reply out of step ends that.
 */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { FtpClient } from '../../src/ftp/client.js';
import {
  type Convoy,
  convoyCommands,
  fitsPacket,
  type Proof,
  type ProveStep,
  proofCommands,
  type Settled,
} from '../../src/ftp/convoy.js';
import { FtpError } from '../../src/ftp/errors.js';
import { Stage, type StageOptions } from './stage.js';

const TIME_MS = Date.UTC(2022, 2, 4, 5, 6, 7);

const step = (changes: Partial<ProveStep> = {}): ProveStep => ({
  path: '/sent',
  clock: 'leave',
  modifiedMs: TIME_MS,
  form: 'MFMT',
  hash: undefined,
  hashingMs: 1_000,
  ...changes,
});

const lines = (
  commands: readonly { readonly verb: string; readonly argument?: string | undefined }[],
): string[] => commands.map(({ verb, argument }) => `${verb} ${argument}`);

const nobody = { settled: () => {} };

describe('the commands', () => {
  test('the rename of the file before comes ahead of the proof of the next', () => {
    const convoy: Convoy = {
      publish: { from: '/a.part', to: '/a', ...nobody },
      prove: { ...step(), ...nobody },
    };
    expect(lines(convoyCommands(convoy))).toEqual([
      'RNFR /a.part',
      'RNTO /a',
      'SIZE /sent',
      'MFMT 20220304050607 /sent',
    ]);
    expect(convoyCommands({})).toEqual([]);
  });

  test('the directory of the file that is sent with them is made behind all else', () => {
    const convoy: Convoy = { prove: { ...step(), ...nobody }, make: { directory: '/b', ...nobody } };
    expect(lines(convoyCommands(convoy))).toEqual(['SIZE /sent', 'MFMT 20220304050607 /sent', 'MKD /b']);
  });

  test('of a proof: the time of arrival before anything is set, then size, hash and time', () => {
    const hash = { verb: 'XCRC', algorithm: 'CRC32' } as const;
    expect(lines(proofCommands(step({ clock: 'ask', hash, path: '/a b', form: 'SITE UTIME' })))).toEqual([
      'MDTM /a b',
      'SIZE /a b',
      'XCRC "/a b"',
      'SITE UTIME 20220304050607 /a b',
    ]);
    expect(lines(proofCommands(step({ form: 'MDTM' })))).toEqual(['SIZE /sent', 'MDTM 20220304050607 /sent']);
  });

  test('another path is asked for its size behind all else', () => {
    expect(lines(proofCommands(step({ permissions: 0o640, other: '/final' })))).toEqual([
      'SIZE /sent',
      'MFMT 20220304050607 /sent',
      'SITE CHMOD 640 /sent',
      'SIZE /final',
    ]);
  });

  test('the hash may take longer than another reply, and nothing else may', () => {
    const hash = { verb: 'HASH', algorithm: 'SHA-256' } as const;
    const waits = proofCommands(step({ hash, hashingMs: 77 })).map(({ verb, extraMs }) => [verb, extraMs]);
    expect(waits).toEqual([
      ['SIZE', undefined],
      ['HASH', 77],
      ['MFMT', undefined],
    ]);
  });

  test('fit into one packet as long as their bytes do', () => {
    const commands = (path: string) => proofCommands(step({ path }));
    expect(fitsPacket([], '/short')).toBe(true);
    expect(fitsPacket(commands('/short'), '/short')).toBe(true);
    expect(fitsPacket(commands(`/${'x'.repeat(300)}`), `/${'x'.repeat(300)}`)).toBe(true);
    expect(fitsPacket(commands(`/${'x'.repeat(500)}`), `/${'x'.repeat(500)}`)).toBe(false);
    // Bytes count, not characters.
    expect(fitsPacket(commands(`/${'ü'.repeat(300)}`), `/${'ü'.repeat(300)}`)).toBe(false);
  });
});

describe('the replies', () => {
  interface Ends {
    readonly published: Settled<void>;
    readonly proved: Settled<Proof>;
  }

  async function open(options: StageOptions = {}): Promise<{ stage: Stage; client: FtpClient }> {
    const stage = await Stage.open(options);
    await writeFile(stage.directory.join('a.part'), 'a');
    await writeFile(stage.directory.join('sent'), 'content');
    return { stage, client: await stage.login() };
  }

  /** Sends a whole convoy by itself; resolves with both ends. */
  async function settled(client: FtpClient, changes: Partial<ProveStep> = {}): Promise<Ends> {
    const ends: { published?: Settled<void>; proved?: Settled<Proof> } = {};
    const [published, proved] = await new Promise<[Settled<void>, Settled<Proof>]>((resolve) => {
      const look = (): void => {
        if (ends.published !== undefined && ends.proved !== undefined) resolve([ends.published, ends.proved]);
      };
      client.settle({
        publish: {
          from: '/a.part',
          to: '/a',
          settled: (end) => {
            ends.published = end;
            look();
          },
        },
        prove: {
          ...step(changes),
          settled: (end) => {
            ends.proved = end;
            look();
          },
        },
      });
    });
    return { published, proved };
  }

  test('go to the steps that they are of', async () => {
    const { stage, client } = await open({ features: { HASH: true } });
    await using _ = stage;
    const { published, proved } = await settled(client, {
      clock: 'ask',
      hash: { verb: 'HASH', algorithm: 'SHA-256' },
    });
    expect(published).toEqual({ ok: true, value: undefined });
    expect(proved).toMatchObject({
      ok: true,
      value: {
        sizeBytes: 7,
        digest: createHash('sha256').update('content').digest('hex'),
        timeReply: { code: 213 },
      },
    });
    const storedMs = proved.ok ? proved.value.storedMs : undefined;
    expect(Math.abs((storedMs ?? 0) - Date.now())).toBeLessThan(60_000);
    // All in one write.
    expect(new Set(stage.server.journal.commands.slice(-6).map(({ packet }) => packet)).size).toBe(1);
    await client.ping();
  });

  test.each([
    ['RNFR', '550 No.', 'publish'],
    ['RNTO', '553 No.', 'publish'],
    ['SIZE', '550 No.', 'prove'],
    ['SIZE', '213 many', 'prove'],
  ] as const)('%s answered with %s fails its own step and no other', async (on, text, which) => {
    const { stage, client } = await open();
    await using _ = stage;
    stage.server.script({ on, do: { kind: 'reply', text } });
    const { published, proved } = await settled(client);
    expect([published.ok, proved.ok]).toEqual([which !== 'publish', which !== 'prove']);
    const failed = which === 'publish' ? published : proved;
    expect(failed.ok ? undefined : failed.error).toBeInstanceOf(FtpError);
    await client.ping();
  });

  test.each([
    ['550 No.', 550],
    ['502 No.', 502],
    ['450 No.', 450],
    ['202 No.', 202],
    ['213 It is fine.', 213],
  ])('a hash answered with %s is a refusal in a proof that stands', async (text, code) => {
    const { stage, client } = await open({ features: { HASH: true } });
    await using _ = stage;
    stage.server.script({ on: 'HASH', do: { kind: 'reply', text } });
    const { proved } = await settled(client, { hash: { verb: 'HASH', algorithm: 'SHA-256' } });
    expect(proved).toMatchObject({ ok: true, value: { sizeBytes: 7, digest: { refused: { code } } } });
  });

  test.each(['550 No.', '502 No.', '213 whenever'])(
    'an MDTM answered with %s tells no clock',
    async (text) => {
      const { stage, client } = await open();
      await using _ = stage;
      stage.server.script({ on: 'MDTM', do: { kind: 'reply', text } });
      const { proved } = await settled(client, { clock: 'ask' });
      expect(proved).toMatchObject({ ok: true, value: { sizeBytes: 7, storedMs: undefined } });
    },
  );

  test.each(['RNFR', 'RNTO', 'SIZE', 'MFMT'])(
    'a connection lost at %s: each step hears its end',
    async (on) => {
      const { stage, client } = await open();
      await using _ = stage;
      stage.server.script({ on, do: { kind: 'reset' } });
      const { published, proved } = await settled(client);
      expect(published.ok).toBe(on === 'SIZE' || on === 'MFMT');
      expect(proved.ok).toBe(false);
      expect(client.ended).toBe(true);
    },
  );
});
