/*
 * Answers that are none, and ends of every kind, in the place of every answer of every operation: packets that are torn,
 * too long, too short, doubled, of another type or to another request; handles of no length and of too much; silence.
 */
import { describe, expect, test } from 'vitest';
import type { Fault } from '../../support/sftp-server/fault.js';
import { string } from '../../support/sftp-server/packet.js';
import { serverLike } from '../../support/sftp-server/settings.js';
import { operations } from './sftp-operations.js';
import { type Point, type Step, type SweepOptions, stepsOf, sweep } from './sftp-sweep.js';

/** The connection is not to be trusted any more; in no case is a file to blame. */
const BROKEN = /^(?:done|reconnect \S+)$/;

/** The same, or what the server says to a handle that it does not know, and what it does not explain. */
const REFUSED =
  /^(?:done|reconnect \S+|skip FAILURE|skip MOVE|skip argument|retry TEMPORARY|retry HELD|gone ENOENT)$/;

const FAULTS: Readonly<Record<string, Fault>> = {
  'reset before': { kind: 'end', how: 'reset' },
  'closed behind': { kind: 'end', how: 'close', at: 'final' },
  'the channel closed before': { kind: 'end', how: 'channel' },
  'cut after 3 bytes': { kind: 'cut', atByte: 3, how: 'reset' },
  'cut after 8 bytes': { kind: 'cut', atByte: 8, how: 'channel' },
  'a length of 4 GiB': { kind: 'length', bytes: 0xffff_ffff },
  'a length of nothing': { kind: 'length', bytes: 0 },
  'without its last bytes': { kind: 'shorten', bytes: 3 },
  'to another request': { kind: 'wrongId', add: 1_000_000 },
  twice: { kind: 'double' },
  'behind a text': { kind: 'inject', bytes: 'Hello there\r\n', where: 'before' },
  'a request': { kind: 'packet', type: 6, body: new Uint8Array(20) },
  'an empty HANDLE': { kind: 'packet', type: 102, body: string('') },
  'a HANDLE of 300 bytes': { kind: 'packet', type: 102, body: string('h'.repeat(300)) },
  'DATA of nothing': { kind: 'packet', type: 103, body: string('') },
  'a NAME of 4 G names': { kind: 'packet', type: 104, body: new Uint8Array([255, 255, 255, 255]) },
  'ATTRS with all flags': { kind: 'packet', type: 105, body: new Uint8Array(64).fill(255) },
  'STATUS without words': { kind: 'packet', type: 101, body: new Uint8Array([0, 0, 0, 4]) },
};

/** Between them they make every request there is. */
const some = (
  ['over a file, which goes aside', 'fetch', 'list', 'a new file in new directories'] as const
).map((name) => operations[name]);

function breakages(steps: readonly Step[]): Point[] {
  return steps
    .filter(({ nth }) => nth <= 2)
    .flatMap(({ on, nth }) =>
      Object.entries(FAULTS).map(([name, fault]) => ({
        name: `${name}: ${on} ${nth}`,
        rules: [{ on, nth, do: fault }],
        judged: /empty HANDLE|STATUS/.test(name) ? REFUSED : BROKEN,
      })),
    );
}

describe('once', () => {
  test.each(some)('$name', async (operation) => {
    const points = breakages(await stepsOf(operation));
    expect(await sweep(operation, points)).toBe(points.length);
    expect(points.length).toBeGreaterThan(0);
  });
});

describe('once, where nothing but version 3 is known', () => {
  const plain: SweepOptions = { server: serverLike('plain') };

  test('over a file', async () => {
    const operation = operations['over a file'];
    const points = breakages(await stepsOf(operation, plain));
    expect(await sweep(operation, points, plain)).toBe(points.length);
  });
});

describe('silence', () => {
  // A server may take its time over fsync, ten seconds at least: here it does without.
  const server = { extensions: { 'fsync@openssh.com': false } };

  test.each(some)('$name', async (operation) => {
    const steps = (await stepsOf(operation, { server })).filter(({ nth }) => nth === 1);
    const points = steps.flatMap(({ on, nth }) =>
      (
        [
          ['of one request', { kind: 'noAnswer' }],
          ['of the channel', { kind: 'end', how: 'hang' }],
          ['of the connection, in the middle of an answer', { kind: 'cut', atByte: 6, how: 'mute' }],
        ] as const
      ).map(([name, fault]) => ({
        name: `${name}: ${on} ${nth}`,
        rules: [{ on, nth, do: fault }],
        judged: BROKEN,
      })),
    );
    expect(await sweep(operation, points, { server, patience: 'impatient', lanes: 12 })).toBe(points.length);
  });
});
