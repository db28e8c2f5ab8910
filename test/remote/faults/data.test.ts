/*
 * The data connection breaks, lies or stalls, at every byte that has a meaning, for uploads, downloads and both kinds
 * of listings, plain and under TLS; with the server's reply before it, behind it, twice and not at all.
 */
import { describe, expect, test } from 'vitest';
import type { Fault, Rule } from '../../support/ftp-server/fault.js';
import {
  again,
  CLEAN,
  ended,
  LOST,
  type Point,
  perhapsAgain,
  SMALL,
  type SweepOptions,
  sweep,
} from './sweep.js';

type Verb = 'STOR' | 'RETR' | 'MLSD' | 'LIST';

const journeys: Readonly<Record<Verb, SweepOptions>> = {
  STOR: {},
  RETR: { direction: 'pull' },
  MLSD: { direction: 'pull' },
  LIST: { direction: 'pull', server: { features: { MLSD: false, MLST: false } } },
};
const each = Object.keys(journeys) as Verb[];
const securities = ['plain', 'explicit'] as const;
/** A listing is sent as a download is; under TLS one of them will do. */
const all = each.flatMap((verb) =>
  securities
    .filter((security) => security === 'plain' || verb !== 'LIST')
    .map((security) => [verb, security] as const),
);

function journey(verb: Verb, security: (typeof securities)[number]): SweepOptions {
  const { server, ...options } = journeys[verb];
  return { ...options, server: { dataTimeoutMs: 300, ...server, security } };
}

/** The last file to be sent. */
const N = SMALL.two?.length ?? 0;

/** Bytes 0, 1, the middle, N - 1 and N of it; a listing is a little shorter than that. */
const bytesOf = (verb: Verb): readonly number[] =>
  verb === 'STOR' || verb === 'RETR' ? [0, 1, N >> 1, N - 1, N] : [0, 1, N >> 2, N >> 1];

function points(
  verb: Verb,
  faults: Readonly<Record<string, Fault | readonly Fault[]>>,
  judged: RegExp,
): Point[] {
  // Files go in the order of their paths: one, three, two. LIST is asked for with an option first, in vain.
  const nth = { STOR: 3, RETR: 3, MLSD: 1, LIST: 2 }[verb];
  return Object.entries(faults).map(([name, fault]) => ({
    name: `${verb}: ${name}`,
    rules: [{ on: verb, nth, do: fault }],
    judged,
  }));
}

const at = (bytes: readonly number[], fault: (atByte: number) => Fault): Record<string, Fault> =>
  Object.fromEntries(bytes.map((atByte) => [`at byte ${atByte}`, fault(atByte)]));

describe.each(all)('%s, %s', (verb, security) => {
  const options = journey(verb, security);
  const bytes = bytesOf(verb);

  test('reset, at every byte', async () => {
    const reset = points(
      verb,
      at(bytes, (atByte) => ({ kind: 'dataReset', atByte })),
      again(`426|${LOST}`),
    );
    expect(await sweep(reset, options)).toBe(bytes.length);
  });

  test('426, 451, 452 and 552 midway', async () => {
    const midway = [426, 451, 452, 552].flatMap((code) =>
      points(
        verb,
        at([1, N >> 1], (atByte) => ({ kind: 'dataReset', atByte, reply: `${code} No more.` })),
        code === 452 || code === 552 ? ended(`failed/${code}`) : again(`${code}|${LOST}`),
      ),
    );
    expect(await sweep(midway, options)).toBe(8);
  });

  test.each(['reset', 'close', 'hang'] as const)(
    'the control connection is lost while data flows: %s',
    async (how) => {
      const lost = points(
        verb,
        at(bytes, (atByte) => ({ kind: 'controlEnd', atByte, how })),
        again(LOST),
      );
      expect(await sweep(lost, { ...options, ...(how === 'hang' ? { patience: 'impatient' } : {}) })).toBe(
        bytes.length,
      );
    },
  );

  test('stalled, at every byte: the stall is noticed, however alive the sockets are', async () => {
    const stalled = points(
      verb,
      at(bytes, (atByte) => ({ kind: 'dataStall', atByte })),
      again(LOST),
    );
    expect(await sweep(stalled, { ...options, patience: 'impatient' })).toBe(bytes.length);
  });

  test('no connection: refused, reset or closed as it is made, or never accepted', async () => {
    const rules: Readonly<Record<string, readonly Rule[]>> = {
      'nobody listens': [{ on: 'EPSV', do: { kind: 'refuseData' } }],
      'nobody listens, and no word of it': [
        { on: 'EPSV', do: { kind: 'refuseData' } },
        { on: verb, do: { kind: 'hang' } },
      ],
      'reset at once': [{ on: 'data', do: { kind: 'reset' } }],
      'closed at once': [{ on: 'data', do: { kind: 'close' } }],
      'accepted and silent': [{ on: 'data', do: { kind: 'hang' } }],
      'accepted, and silent behind the mark': [{ on: verb, do: { kind: 'dataStall', atByte: 0 } }],
    };
    const none = Object.entries(rules).map(
      ([name, rule]): Point => ({ name, rules: rule, judged: perhapsAgain(`425|${LOST}`) }),
    );
    expect(await sweep(none, { ...options, patience: 'impatient' })).toBe(6);
  });

  test('the final reply: before the data, before the mark, twice, late', async () => {
    const replies = points(
      verb,
      {
        'before the data': { kind: 'finalReplyFirst' },
        'before the mark': { kind: 'finalReplyFirst', before: 'mark' },
        twice: { kind: 'doubleFinal' },
        late: { kind: 'delay', ms: 60, at: 'final' },
        'after a late mark': { kind: 'delay', ms: 60, at: 'mark' },
        'without a mark': { kind: 'bytes', pieces: [], at: 'mark' },
        'with another mark': { kind: 'reply', text: '125 Already open.', at: 'mark' },
        'of 250': { kind: 'reply', text: '250 Done.', at: 'final' },
      },
      CLEAN,
    );
    expect(await sweep(replies, options)).toBe(8);
  });

  test('no final reply: what went over is looked at, and not believed', async () => {
    const none = points(
      verb,
      {
        never: { kind: 'noFinalReply' },
        'and silence': { kind: 'hang', at: 'final' },
        'and a reset': { kind: 'reset', at: 'final' },
        'and a close': { kind: 'close', at: 'final' },
        'half of it': { kind: 'cut', atByte: 3, ending: 'close' },
      },
      perhapsAgain(LOST),
    );
    expect(await sweep(none, { ...options, patience: 'impatient' })).toBe(5);
  });
});

describe('sizes that do not agree', () => {
  const bytes = bytesOf('RETR');

  test.each(securities)('%s: an upload that the server keeps short behind its 226', async (security) => {
    const options = journey('STOR', security);
    const short = [
      ...points(
        'STOR',
        at(bytes, (sizeBytes) => ({ kind: 'storeShort', sizeBytes: Math.min(sizeBytes, N - 1) })),
        again('mismatch'),
      ),
      // Closing early, a server may also reset what is still under way.
      ...points(
        'STOR',
        at(bytes, (atByte) => ({ kind: 'dataClose', atByte: Math.min(atByte, N - 1) })),
        again(`mismatch|${LOST}`),
      ),
    ];
    expect(await sweep(short, options)).toBe(2 * bytes.length);
  });

  test.each(securities)('%s: a download that is short behind its 226', async (security) => {
    const short = points(
      'RETR',
      at(bytes, (atByte) => ({ kind: 'dataClose', atByte: Math.min(atByte, N - 1) })),
      again('mismatch'),
    );
    expect(await sweep(short, journey('RETR', security))).toBe(bytes.length);
  });

  test.each(securities)('%s: a download that is longer than its size', async (security) => {
    const content = SMALL.two ?? '';
    const longer = points(
      'RETR',
      Object.fromEntries(
        [1, 100, 100_000].map((more) => [
          `${more} bytes more`,
          { kind: 'content', bytes: content + '!'.repeat(more) } as const,
        ]),
      ),
      again('mismatch'),
    );
    expect(await sweep(longer, journey('RETR', security))).toBe(3);
  });

  test.each([
    ['550', '550 Not now.'],
    ['450', '450 Not now.'],
    ['500', '500 What?'],
  ])('a download that is short where SIZE answers %s: the listing told the size', async (_code, text) => {
    const short = bytes.slice(0, -1).map(
      (atByte): Point => ({
        name: `short at byte ${atByte}`,
        rules: [
          { on: 'SIZE', nth: 'every', do: { kind: 'reply', text } },
          { on: 'RETR', nth: 3, do: { kind: 'dataClose', atByte } },
        ],
        judged: again('mismatch'),
      }),
    );
    expect(await sweep(short, journeys.RETR)).toBe(4);
  });
});
