/*
 * What comes in place of good replies (RFC 959 section 4.2), at every command of a whole conversation, or at every
 * byte of all that the server says: torn, cut off, in odd forms that are allowed, in forms that are not, for another
 * command, twice, not at all, or one byte at a time.
 */
import { describe, expect, test, vi } from 'vitest';
import type { Fault, Piece } from '../../support/ftp-server/fault.js';
import {
  again,
  CLEAN,
  conversation,
  ended,
  LOST,
  type Point,
  perhapsAgain,
  reconnected,
  type Step,
  type SweepOptions,
  sweep,
} from './sweep.js';

// Hundreds of runs each, on a machine that may be busy; every single run has a deadline of its own.
vi.setConfig({ testTimeout: 120_000 });

const push: SweepOptions = {};
const pushTls: SweepOptions = { server: { security: 'explicit' } };
const pull: SweepOptions = { direction: 'pull' };
const pullList: SweepOptions = {
  direction: 'pull',
  server: { features: { MLSD: false, MLST: false, EPSV: false } },
};
const journeys: readonly (readonly [string, SweepOptions])[] = [
  ['push', push],
  ['push under TLS', pushTls],
  ['pull', pull],
  ['pull with LIST and PASV', pullList],
];

/** Either way, at any time: a connection that is lost while a session is opened, in it, or at its very end. */
const LOST_ANYWHERE = new RegExp(`^ok(?: (?:retry|reconnect):(?:${LOST}))*$`);

/** A reply that cannot be one, or never ends. */
const NO_REPLY = `${LOST}|213`;

function badly(step: Step, options: { readonly greeting: RegExp; readonly opening?: RegExp }): RegExp {
  if (step.part === 'goodbye') return CLEAN;
  // An EPSV that is out of step costs another connection and no more; MFMT's reply vouches for nothing.
  if (step.part === 'session')
    return ['EPSV', 'MFMT'].includes(step.on) ? perhapsAgain(NO_REPLY) : again(NO_REPLY);
  return step.on === 'greeting' ? options.greeting : (options.opening ?? reconnected(LOST));
}

describe('at every byte that the server says', () => {
  const ways = ['reset', 'close', 'hang'] as const;

  /** Few words, so that there are few bytes; one file, which a push replaces. */
  const terse: SweepOptions = {
    files: { two: 'two '.repeat(50) },
    server: {
      replies: {
        greeting: '220 a',
        needPassword: '331 a',
        loggedIn: '230 a',
        mark: '150 a',
        stored: '226 a',
        sent: '226 a',
        listed: '226 a',
        goodbye: '221 a',
        pwd: (path) => `257 "${path}"`,
        epsv: (port) => `229 (|||${port}|)`,
        features: () => '211-\n UTF8\n MLST\n MFMT\n211 a',
      },
    },
  };
  const journeys = {
    push: terse,
    'push under TLS': { ...terse, server: { ...terse.server, security: 'explicit' as const } },
    pull: { ...terse, direction: 'pull' as const },
  };

  test.each([
    ['push', 1],
    ['push under TLS', 7],
    ['pull', 4],
  ] as const)('%s: cut off there', async (name, stride) => {
    const journey = journeys[name];
    const { sentBytes } = await conversation(journey);
    const points: Point[] = [];
    for (let atByte = 0; atByte < sentBytes; atByte += stride) {
      const how = ways[atByte % ways.length] ?? 'reset';
      points.push({
        name: `${how} at ${atByte}`,
        rules: [{ on: 'connect', do: { kind: 'dropAfter', sentBytes: atByte, how } }],
        judged: LOST_ANYWHERE,
      });
    }
    expect(await sweep(points, { ...journey, patience: 'impatient', lanes: 12 })).toBeGreaterThan(40);
  });

  test.each([
    ['push', 3],
    ['push under TLS', 17],
    ['pull', 7],
  ] as const)('%s: torn there, which changes nothing', async (name, stride) => {
    const journey = journeys[name];
    const { sentBytes } = await conversation(journey);
    const points: Point[] = [];
    for (let atByte = 1; atByte < sentBytes; atByte += stride) {
      points.push({
        name: `torn at ${atByte}`,
        rules: [{ on: 'connect', do: { kind: 'tearAfter', sentBytes: atByte } }],
        judged: CLEAN,
      });
    }
    expect(await sweep(points, journey)).toBeGreaterThan(15);
  });
});

describe('odd, and allowed: nothing is noticed', () => {
  const everywhere: Readonly<Record<string, Fault | readonly Fault[]>> = {
    'LF alone': { kind: 'lineEnding', ending: '\n' },
    'byte by byte': { kind: 'split', offsets: 'every-byte', pauseMs: 0 },
    'byte by byte, slow and steady': { kind: 'split', offsets: 'every-byte', pauseMs: 1 },
    'an empty line before each': { kind: 'prepend', bytes: '\r\n' },
  };

  test.each(journeys)('%s: every reply of the conversation', async (_name, journey) => {
    const points = Object.entries(everywhere).map(
      ([name, fault]): Point => ({ name, rules: [{ on: /^/, nth: 'every', do: fault }], judged: CLEAN }),
    );
    // An empty line behind the 234 is as good as an injection, and stands in front of it here.
    expect(await sweep(points, journey)).toBe(4);
  });

  test('replies of many lines, with codes, dashes, escapes and other scripts in them', async () => {
    const lines = [
      '125 not a mark',
      '232 nor the end',
      '421 nor a goodbye',
      '550-',
      '',
      ' 221 x',
      '\x1b[2J\x1b]0;title\x07 \u202e\u2066 \u200b',
      'Füße 日本 🚢',
      '99999 -',
    ];
    // Those of SIZE, PWD and MDTM hold a value on their only line (RFC 3659 sections 3 and 4).
    const spoken = [
      'greeting',
      'USER',
      'PASS',
      'TYPE',
      'OPTS',
      'EPSV',
      'STOR',
      'MFMT',
      'RNFR',
      'RNTO',
      'QUIT',
    ];
    const points = spoken.map(
      (on): Point => ({
        name: `${on} in many lines`,
        rules: [{ on, nth: 'every', do: { kind: 'multiline', lines } }],
        judged: CLEAN,
      }),
    );
    expect(await sweep(points, push)).toBe(spoken.length);
    const heard = ['PASV', 'CWD', 'LIST', 'RETR'].map(
      (on): Point => ({
        name: `${on} in many lines`,
        rules: [{ on, nth: 'every', do: { kind: 'multiline', lines } }],
        judged: CLEAN,
      }),
    );
    expect(await sweep(heard, pullList)).toBe(4);
  });

  test('escapes in what a person will read', async () => {
    const text = '553 \x1b[31mNo\x07 \u202eway\u0000\u009b0m'.replace('\0', '');
    const points = [
      { on: 'STOR', nth: 'every', do: { kind: 'reply', text }, judged: /^partial skip:553$/ },
      { on: 'STOR', nth: 1, do: { kind: 'reply', text: text.replace('553', '451') }, judged: again('451') },
      {
        on: 'greeting',
        nth: 1,
        do: { kind: 'reply', text: text.replace('553', '550') },
        judged: ended('unreachable/550'),
      },
      {
        on: 'PASS',
        nth: 1,
        do: { kind: 'reply', text: text.replace('553', '530') },
        judged: ended('trust/530'),
      },
      {
        on: 'FEAT',
        nth: 1,
        do: { kind: 'reply', text: text.replace('553', '450') },
        judged: reconnected('450'),
      },
    ] as const;
    const swept = await sweep(
      points.map(
        ({ judged, ...rule }): Point => ({
          name: `${rule.on} with escapes`,
          rules: [rule],
          judged,
          resends: 9,
        }),
      ),
      push,
    );
    expect(swept).toBe(5);
  });

  test('twice, in one packet: passed over where nobody can be misled, else the connection goes', async () => {
    const { steps } = await conversation(push);
    const points = steps.map(
      ({ on, nth }): Point => ({
        name: `${on} ${nth} twice`,
        rules: [{ on, nth, do: { kind: 'doubleFinal' } }],
        judged: new RegExp(`^ok(?: (?:retry|reconnect):(?:${LOST}|mismatch))*$`),
        // A time in place of a size, and a size in place of the next one: two files look wrong.
        resends: 2,
      }),
    );
    expect(await sweep(points, push)).toBe(steps.length);
  });

  test('in one packet with the next, wherever the next does not wait for it', async () => {
    const { steps } = await conversation(pushTls);
    // These travel with another command behind them.
    const convoyed = steps.filter(({ on }) => ['PBSZ', 'RNFR', 'SIZE'].includes(on));
    const points = convoyed.map(
      ({ on, nth }): Point => ({
        name: `${on} ${nth} with the next`,
        rules: [{ on, nth, do: { kind: 'holdBack' } }],
        judged: CLEAN,
      }),
    );
    points.push({
      name: 'the mark with the end of a transfer',
      rules: [
        {
          on: 'STOR',
          nth: 'every',
          do: [
            { kind: 'bytes', pieces: [], at: 'mark' },
            { kind: 'prepend', bytes: '150 Here.\r\n' },
          ],
        },
      ],
      judged: CLEAN,
    });
    expect(await sweep(points, pushTls)).toBe(8);
  });
});

describe('no reply at all', () => {
  const megabyte = `220 ${'x'.repeat(1024 * 1024)}`;
  const nonsense: Readonly<Record<string, Piece>> = {
    'a line of 1 MiB': `${megabyte}\r\n`,
    'a line of 1 MiB without its end': megabyte,
    'a reply of 100,000 lines': `220-\r\n${' x\r\n'.repeat(100_000)}220 x\r\n`,
    '100,000 empty lines': '\r\n'.repeat(100_000),
    'a NUL': '220 He\0llo\r\n',
    'a NUL on a line that has not ended': '220 \0',
    'an HTTP answer': 'HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>',
    'an SSH banner': 'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n',
    'a TLS record': Buffer.from([0x16, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28, 0x0a]),
    'code 600': '600 What?\r\n',
    'code 000': '000 What?\r\n',
    'a tab behind the code': '220\tWhat?\r\n',
    words: 'ready when you are\r\n',
  };

  /** These are tried at each command, the others where the answers are of different kinds. */
  const EXHAUSTING = ['a line of 1 MiB', 'a reply of 100,000 lines', 'a NUL', 'words'];
  const EXEMPLARY = ['greeting', 'PASS', 'FEAT', 'STOR', 'SIZE', 'RNTO'];

  test.each(Object.keys(nonsense))('%s', async (name) => {
    const { steps } = await conversation(push);
    const points = steps
      .filter(({ on, nth }) => nth === 1 && (EXHAUSTING.includes(name) || EXEMPLARY.includes(on)))
      .map((step): Point => {
        const { on, nth } = step;
        const pieces = nonsense[name] ?? '';
        return {
          name: `${name} at ${on}`,
          rules: [{ on, nth, do: { kind: 'bytes', pieces } }],
          judged: badly(step, { greeting: ended('unreachable/malformed') }),
        };
      });
    expect(await sweep(points, push)).toBeGreaterThan(5);
  });

  test('a reply that is whole but for the end of its line', async () => {
    const { steps } = await conversation(push);
    const points = steps
      .filter(({ nth }) => nth <= 2)
      .map(
        (step): Point => ({
          name: `${step.on} ${step.nth}`,
          rules: [{ on: step.on, nth: step.nth, do: { kind: 'lineEnding', ending: '' } }],
          judged: badly(step, { greeting: reconnected('timeout') }),
        }),
      );
    expect(await sweep(points, { ...push, patience: 'impatient', lanes: 16 })).toBeGreaterThan(15);
  });

  test.each([
    ['nothing', ''],
    ['a mark, and then nothing', '150 In a moment.\r\n'],
  ])('%s, whether the command was executed or not', async (_name, pieces) => {
    const { steps } = await conversation(push);
    const points = steps.flatMap((step) =>
      (['start', 'final'] as const).map(
        (at): Point => ({
          name: `${step.on} ${step.nth} at ${at}`,
          rules: [{ on: step.on, nth: step.nth, do: { kind: 'bytes', pieces, at } }],
          judged: swallowed(step),
        }),
      ),
    );
    expect(await sweep(points, { ...push, patience: 'impatient', lanes: 16 })).toBeGreaterThan(50);
  });

  /** Another command's reply may be taken for it, but never so that it vouches for a file. */
  function swallowed(step: Step): RegExp {
    if (step.part === 'goodbye') return CLEAN;
    if (step.part === 'opening') return reconnected('timeout');
    return new RegExp(`^(?:ok|partial)(?: retry:(?:${NO_REPLY}))*(?: skip:503)?$`);
  }

  test('one byte at a time, too slowly: the deadline is for the whole reply', async () => {
    const { steps } = await conversation(push);
    const points = steps
      .filter(({ nth }) => nth === 1)
      .map(
        (step): Point => ({
          name: `${step.on} drips`,
          rules: [{ on: step.on, nth: 1, do: { kind: 'split', offsets: 'every-byte', pauseMs: 100 } }],
          judged: badly(step, { greeting: reconnected('timeout'), opening: reconnected('timeout') }),
        }),
      );
    expect(await sweep(points, { ...push, patience: 'impatient', lanes: 16 })).toBeGreaterThan(12);
  });
});

describe('the reply of another class', () => {
  const codes = [150, 250, 350, 450, 550] as const;

  /** What becomes of the run where a command was executed, and is answered with these codes. */
  const OUT_OF_STEP = again(NO_REPLY);
  const executed: Readonly<Record<string, readonly [RegExp, RegExp, RegExp, RegExp, RegExp]>> = {
    greeting: [
      reconnected('timeout'),
      CLEAN,
      ended('unreachable/350'),
      reconnected('450'),
      ended('unreachable/550'),
    ],
    PASS: [reconnected('timeout'), CLEAN, ended('trust/350'), reconnected('450'), ended('trust/550')],
    FEAT: [reconnected('timeout'), CLEAN, reconnected('malformed'), reconnected('450'), CLEAN],
    OPTS: [reconnected('timeout'), CLEAN, reconnected('malformed'), reconnected('450'), CLEAN],
    TYPE: [
      reconnected('timeout'),
      CLEAN,
      reconnected('malformed'),
      reconnected('450'),
      ended('unreachable/550'),
    ],
    PWD: [reconnected('timeout'), CLEAN, reconnected('malformed'), reconnected('450'), CLEAN],
    // Where EPSV has no use, PASV has; where it is out of step, the file goes over another connection unharmed.
    EPSV: [again('timeout'), CLEAN, CLEAN, again('450'), CLEAN],
    STOR: [perhapsAgain(LOST), CLEAN, perhapsAgain(LOST), again('450'), CLEAN],
    SIZE: [OUT_OF_STEP, OUT_OF_STEP, OUT_OF_STEP, again('mismatch'), again('mismatch')],
    MFMT: [OUT_OF_STEP, CLEAN, CLEAN, CLEAN, CLEAN],
    RNFR: [OUT_OF_STEP, OUT_OF_STEP, CLEAN, again('450'), /^partial skip:550$/],
    RNTO: [OUT_OF_STEP, CLEAN, OUT_OF_STEP, again('450'), /^(?:ok retry:unconfirmed|partial skip:550)$/],
  };

  const fetched: typeof executed = {
    EPSV: [again('timeout'), OUT_OF_STEP, OUT_OF_STEP, again('450'), CLEAN],
    MLSD: [again('unconfirmed'), CLEAN, OUT_OF_STEP, again('450'), ended('failed/550')],
    SIZE: [OUT_OF_STEP, OUT_OF_STEP, OUT_OF_STEP, CLEAN, CLEAN],
    RETR: [again('unconfirmed'), CLEAN, OUT_OF_STEP, again('450'), /^partial skip:550$/],
  };

  const listed: typeof executed = {
    // LIST is asked for with an option and, where that is refused, without.
    PASV: [again('timeout'), OUT_OF_STEP, OUT_OF_STEP, again('450'), CLEAN],
    CWD: [again('timeout'), CLEAN, OUT_OF_STEP, again('450'), ended('failed/550')],
    LIST: [again('unconfirmed'), CLEAN, OUT_OF_STEP, CLEAN, CLEAN],
  };

  test.each([
    ['push', push, executed],
    ['pull', pull, fetched],
    ['pull with LIST and PASV', pullList, listed],
  ] as const)('%s', async (_name, journey, table) => {
    const points = Object.entries(table).flatMap(([on, row]) =>
      codes.flatMap((code, place): Point[] => {
        const judged = row[place] ?? CLEAN;
        const text = `${code} Wrong.`;
        const point = { judged, resends: 2 };
        return [
          // A server that refuses RNFR in words and lets RNTO rename all the same has lied too well.
          ...(on === 'RNFR' && code >= 400
            ? []
            : [
                {
                  ...point,
                  name: `${on} answered ${code}`,
                  rules: [{ on, do: { kind: 'reply', text, at: 'final' } as const }],
                },
              ]),
          // Not executed and yet said to be done: against that lie only the proofs of SIZE and the like are made.
          ...(code < 400
            ? []
            : [
                {
                  ...point,
                  name: `${on} refused ${code}`,
                  rules: [{ on, do: { kind: 'reply', text } as const }],
                },
              ]),
        ];
      }),
    );
    expect(await sweep(points, { ...journey, patience: 'impatient' })).toBeGreaterThan(20);
  });
});
