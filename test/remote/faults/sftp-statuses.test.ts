/*
 * Every status that a server can answer with, in the place of every answer of every operation: before the request was
 * carried out, and after. What is decided then stands in one table, as protocol.md has it.
 */
import { describe, expect, test } from 'vitest';
import { serverLike } from '../../support/sftp-server/settings.js';
import { operations } from './sftp-operations.js';
import { type Point, type Step, type SweepOptions, stepsOf, sweep } from './sftp-sweep.js';

/**
 * What may be decided where the operation does not succeed all the same: as a refusal of the file (FTP's 550; FAILURE is
 * also what a server says to a rename onto a file), of the place that it should move to, of its temporary name or of
 * the part that lies there.
 */
const REFUSED = 'skip FAILURE|skip MOVE|retry TEMPORARY|retry HELD|gone ENOENT|skip argument';

interface Status {
  readonly code: number;
  readonly words?: string;
  /** `start` unless told. */
  readonly at?: 'start' | 'final';
  readonly decided: string;
}

const STATUSES: readonly Status[] = [
  { code: 2, decided: `skip NO_SUCH_FILE|retry mismatch|reconnect UNCONFIRMED|${REFUSED}` },
  { code: 3, decided: `skip PERMISSION_DENIED|${REFUSED}` },
  { code: 4, decided: REFUSED },
  { code: 4, words: 'No space left on device', decided: `hold \\S+|${REFUSED}` },
  { code: 4, words: 'Text file busy', decided: `retry \\S+|${REFUSED}` },
  { code: 4, words: `\u001b[31mRed\u202e ${'x'.repeat(50_000)}`, decided: REFUSED },
  { code: 5, decided: `skip BAD_MESSAGE|${REFUSED}` },
  { code: 7, decided: 'reconnect CONNECTION_LOST' },
  { code: 8, decided: `fallback OP_UNSUPPORTED|${REFUSED}` },
  { code: 14, decided: `hold \\S+|${REFUSED}` },
  { code: 0xffff_ffff, decided: `skip STATUS_4294967295|${REFUSED}` },
  { code: 4, at: 'final', decided: REFUSED },
  { code: 6, at: 'final', decided: 'reconnect NO_CONNECTION' },
  { code: 15, at: 'final', decided: `hold \\S+|${REFUSED}` },
];

/** Much moves at each of their points, or most of what they do others do as well: every fourth point will do. */
const THINNED = ['the rest of a file', 'a large file', 'a new file', 'permissions'];

function refusals(steps: readonly Step[]): Point[] {
  return steps.flatMap(({ on, nth }) =>
    STATUSES.map(({ code, words, at = 'start', decided }) => ({
      name: `${code} ${words?.slice(0, 10) ?? ''} to ${on} ${nth} at its ${at}`,
      rules: [
        { on, nth, do: { kind: 'status' as const, code, at, ...(words === undefined ? {} : { words }) } },
      ],
      judged: new RegExp(`^(?:done|${decided})$`),
      ...(code === 2 ? { believed: 'rightly' as const } : {}),
    })),
  );
}

describe('once', () => {
  test.each(Object.entries(operations))('%s', async (name, operation) => {
    const all = refusals(await stepsOf(operation));
    const points = THINNED.includes(name) ? all.filter((_, place) => place % 4 === 0) : all;
    expect(await sweep(operation, points)).toBe(points.length);
    expect(points.length).toBeGreaterThan(0);
  });
});

describe('once, where nothing but version 3 is known', () => {
  const plain: SweepOptions = { server: serverLike('plain') };

  test.each(['over a file', 'over a file, which goes aside'] as const)('%s', async (name) => {
    const operation = operations[name];
    const points = refusals(await stepsOf(operation, plain));
    expect(await sweep(operation, points, plain)).toBe(points.length);
  });
});
