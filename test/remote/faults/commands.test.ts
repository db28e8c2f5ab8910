/*
 * Servers that do their own thing with a command, for good and not by accident: PASV and EPSV in every form, FEAT that
 * lies in both directions, REST that is ignored, SIZE that lies, MKD of what is there, RNTO onto a file.
 */
import { describe, expect, test } from 'vitest';
import type { FtpServerOptions } from '../../support/ftp-server/settings.js';
import { again, CLEAN, ended, LOST, type Point, perhapsAgain, type SweepOptions, sweep } from './sweep.js';

/** No fault beside the ways of the server itself. */
const itself = (judged: RegExp): Point => ({ name: 'as it is', rules: [], judged, stir: () => () => {} });

describe('EPSV', () => {
  const good: readonly ((port: number) => string)[] = [
    (port) => `229 Entering Extended Passive Mode (|||${port}|)`,
    (port) => `229 Entering Extended Passive Mode (|||${port}|).`,
    (port) => `229 (!!!${port}!)`,
    (port) => `229 ok ($$$${port}$)`,
    (port) => `229 |||${port}|`,
    (port) => `229 Erweiterter Passivmodus – gut (|||${port}|) bitte`,
    (port) => `229-Here it comes\n (|||1|)\n229 (|||${port}|)`,
  ];

  test.each(good.map((form) => [form(6446), form] as const))('%j is understood', async (_shown, epsv) => {
    expect(await sweep([itself(CLEAN)], { server: { replies: { epsv } } })).toBe(1);
  });

  const bad = [
    '229 Entering Extended Passive Mode (|||0|)',
    '229 Entering Extended Passive Mode (|||65536|)',
    '229 Entering Extended Passive Mode (|||-1|)',
    '229 Entering Extended Passive Mode (||6446|)',
    '229 Entering Extended Passive Mode (|1|127.0.0.1|6446|)',
    '229 Entering Extended Passive Mode (|||6446',
    '229 Entering Extended Passive Mode',
    '229',
    '229 (|||9999999999999999999999|)',
    '500 What?',
    '501 What?',
    '502 Not implemented.',
    '522 Network protocol not supported, use (1)',
    '550 No.',
    '202 Superfluous.',
    '200 Ok.',
  ];

  test.each(['push', 'pull'] as const)('%s: where it is of no use, PASV is found out', async (direction) => {
    const points = bad.map(
      (text): Point => ({
        name: text,
        rules: [{ on: 'EPSV', nth: 'every', do: { kind: 'reply', text } }],
        judged: perhapsAgain(LOST),
        resends: 2,
      }),
    );
    expect(await sweep(points, { direction, patience: 'impatient' })).toBe(bad.length);
  });

  test('a port where nobody listens, each time: PASV leads there', async () => {
    const points: Point[] = [
      {
        name: 'refused',
        rules: [{ on: 'EPSV', nth: 'every', do: { kind: 'refuseData' } }],
        judged: perhapsAgain(`425|${LOST}`),
        resends: 9,
      },
    ];
    expect(await sweep(points, { server: { dataTimeoutMs: 100 }, patience: 'impatient' })).toBe(1);
  });
});

describe('PASV', () => {
  type Form = (address: string, high: number, low: number) => string;
  const noEpsv = { EPSV: false } as const;

  const good: readonly Form[] = [
    (address, high, low) => `227 Entering Passive Mode (${address},${high},${low})`,
    (address, high, low) => `227 Entering Passive Mode ${address},${high},${low}`,
    (address, high, low) => `227 Entering Passive Mode =${address},${high},${low}`,
    (address, high, low) => `227 ${address},${high},${low}`,
    (address, high, low) => `227 Passivmodus – bitte: ${address},${high},${low}!`,
    (_address, high, low) => `227 Entering Passive Mode (203,0,113,9,${high},${low}).`,
    (_address, high, low) => `227 Entering Passive Mode (10,0,0,7,${high},${low}).`,
    (_address, high, low) => `227 Entering Passive Mode (0,0,0,0,${high},${low}).`,
    (_address, high, low) => `227 Entering Passive Mode (255,255,255,255,${high},${low}).`,
    (_address, high, low) => `227 Entering Passive Mode (127, 0, 0, 1, ${high}, ${low}).`,
    (address, high, low) => `227-One moment\n 1,2,3,4,5,6\n227 (${address},${high},${low})`,
  ];

  test.each(good.map((form) => [form('127,0,0,1', 25, 46), form] as const))(
    '%j is understood, and leads to the server itself',
    async (_shown, pasv) => {
      expect(await sweep([itself(CLEAN)], { server: { features: noEpsv, replies: { pasv } } })).toBe(1);
    },
  );

  test('what is no port ends the run, and says so', async () => {
    const bad = [
      '227 Entering Passive Mode (127,0,0,1,0,0)',
      '227 Entering Passive Mode (127,0,0,1,256,1)',
      '227 Entering Passive Mode (127,0,0,1,4,999)',
      '227 Entering Passive Mode (999,0,0,1,4,1)',
      '227 Entering Passive Mode (127,0,0,1,4)',
      '227 Entering Passive Mode (127,0,0,1,4,1,7)',
      '227 Entering Passive Mode (127,0,0,1,-4,1)',
      '227 Entering Passive Mode (127.0.0.1:1025)',
      '227 Entering Passive Mode',
      '227',
      '500 What?',
      '502 Not implemented.',
    ];
    const points = bad.map(
      (text): Point => ({
        name: text,
        rules: [{ on: 'PASV', nth: 'every', do: { kind: 'reply', text } }],
        // Another way to a data connection may still be found.
        judged: new RegExp(`^(?:ok|failed unreachable/${text.slice(0, 3)}(?: .*)?)$`),
        resends: 9,
      }),
    );
    expect(await sweep(points, { server: { features: noEpsv } })).toBe(bad.length);
  });
});

describe('FEAT that lies', () => {
  const lies: Readonly<Record<string, Omit<FtpServerOptions, 'root'>>> = {
    'lists what is missing': {
      features: {
        MFMT: false,
        MLSD: false,
        MLST: false,
        UTF8: false,
        EPSV: false,
        SIZE: false,
        HASH: false,
        REST: false,
      },
      replies: {
        features: () =>
          '211-Features:\n MFMT\n MLST type*;size*;modify*;\n UTF8\n EPSV\n SIZE\n REST STREAM\n HASH SHA-256*\n XSHA256\n211 End',
      },
    },
    'misses what is there': { replies: { features: () => '211 No features.' } },
    'has an empty list': { replies: { features: () => '211-Features:\n211 End' } },
    'lists without the leading space': {
      replies: {
        features: (lines) => ['211-Features:', ...lines.map((line) => `211-${line}`), '211 End'].join('\n'),
      },
    },
    'lists in lower case': {
      replies: {
        features: (lines) =>
          ['211-Features:', ...lines.map((line) => ` ${line.toLowerCase()}`), '211 End'].join('\n'),
      },
    },
    'lists nonsense': {
      replies: { features: () => '211-\n ;;;\n \n MLST\n MFMT MFMT MFMT\n 0\n -\n *\n ÄÖÜ\n211 End' },
    },
    'lists three thousand features': {
      replies: {
        features: (lines) =>
          [
            '211-',
            ...Array.from({ length: 3_000 }, (_, i) => ` X${i}`),
            ...lines.map((line) => ` ${line}`),
            '211 End',
          ].join('\n'),
      },
    },
    'is not there, and neither is anything else': {
      features: {
        FEAT: false,
        MFMT: false,
        MLSD: false,
        MLST: false,
        EPSV: false,
        SIZE: false,
        'MDTM-SET': false,
        'SITE-UTIME': false,
      },
    },
  };

  test.each(Object.keys(lies).flatMap((name) => [[name, 'push'] as const, [name, 'pull'] as const]))(
    '%s: %s',
    async (name, direction) => {
      const { ...server } = lies[name];
      expect(await sweep([itself(CLEAN)], { direction, server })).toBe(1);
    },
  );
});

describe('REST', () => {
  /** Large enough that what is left is worth resuming. */
  const files = { large: Array.from({ length: 60_000 }, (_, i) => `${i};`).join('') };
  const half = files.large.length >> 1;

  const rests: Readonly<Record<string, Point['rules']>> = {
    'as it should be': [],
    ignored: [{ on: 'REST', nth: 'every', do: { kind: 'reply', text: '350 Restarting.' } }],
    refused: [{ on: 'REST', nth: 'every', do: { kind: 'reply', text: '502 No.' } }],
    'refused by STOR': [{ on: 'REST', nth: 'every', do: { kind: 'reply', text: '554 Invalid offset.' } }],
    'answered out of step': [{ on: 'REST', nth: 'every', do: { kind: 'reply', text: '226 Done.' } }],
    'lost with the connection': [{ on: 'REST', do: { kind: 'reset' } }],
  };

  test.each(['push', 'pull'] as const)(
    '%s: whatever becomes of it, the file is whole or not there',
    async (direction) => {
      const on = direction === 'push' ? 'STOR' : 'RETR';
      const points = Object.entries(rests).flatMap(([name, rules]) =>
        (
          [
            ['reset', { kind: 'dataReset', atByte: half }],
            ['lost', { kind: 'controlEnd', atByte: half, how: 'reset' }],
          ] as const
        ).map(
          ([how, fault]): Point => ({
            name: `${name}, after it was ${how}`,
            rules: [
              { on, do: fault },
              { on: 'APPE', nth: 'every', do: { kind: 'reply', text: '502 No.' } },
              ...rules,
            ],
            judged: again(`426|mismatch|${LOST}`),
            resends: 4,
          }),
        ),
      );
      expect(await sweep(points, { direction, files })).toBe(12);
    },
  );

  test('refused by the transfer behind it, as ProFTPD does by default', async () => {
    const points: Point[] = [
      {
        name: 'push',
        rules: [{ on: 'STOR', do: { kind: 'dataReset', atByte: half } }],
        judged: again(`426|451|${LOST}`),
        resends: 3,
      },
    ];
    expect(await sweep(points, { files, server: { features: { 'REST-STOR': false } } })).toBe(1);
  });
});

describe('SIZE that lies', () => {
  const lies = [-1_000, -1, 1, 1_000];

  test('once: the file is tried again', async () => {
    const points = lies.map(
      (addBytes): Point => ({
        name: `by ${addBytes}`,
        rules: [{ on: 'SIZE', nth: 2, do: { kind: 'wrongSize', addBytes } }],
        judged: again('mismatch|213'),
      }),
    );
    expect(await sweep(points)).toBe(lies.length);
    expect(await sweep(points, { direction: 'pull' })).toBe(lies.length);
  });

  test('each time: nothing is believed, and the next run makes it good', async () => {
    const points = lies.map(
      (addBytes): Point => ({
        name: `by ${addBytes}`,
        rules: [{ on: 'SIZE', nth: 'every', do: { kind: 'wrongSize', addBytes } }],
        // A size below zero is none.
        judged:
          /^partial(?: verification\/mismatch)?(?: retry:(?:mismatch|213))+(?: skip:(?:mismatch|213))+$/,
        resends: 99,
      }),
    );
    expect(await sweep(points, { attempts: 3 })).toBe(lies.length);
    expect(await sweep(points, { attempts: 3, direction: 'pull' })).toBe(lies.length);
  });

  test('in a listing: SIZE says what is true', async () => {
    const points = lies.map(
      (addBytes): Point => ({
        name: `by ${addBytes}`,
        rules: [{ on: 'MLSD', do: { kind: 'wrongSize', addBytes } }],
        // A size below zero is none, and such a listing is not complete.
        judged: addBytes < -100 ? /^partial$/ : perhapsAgain(`mismatch|${LOST}`),
      }),
    );
    // Listed with another size by the next run, a file counts as changed.
    expect(await sweep(points, { direction: 'pull', detours: 3 })).toBe(lies.length);
  });
});

describe('MKD', () => {
  const missing: SweepOptions = {
    files: { 'deep/er/one': 'x'.repeat(30), 'deep/er/two': 'y'.repeat(40) },
    detours: 2,
  };

  test('of what is there already, in every code: looked at, and gone on', async () => {
    const texts = [
      '521 "/deep" directory exists',
      '550 Exists.',
      '553 Exists.',
      '500 Exists.',
      '501 Exists.',
    ];
    const points = texts.flatMap((text) =>
      [1, 2, 3].flatMap((nth) =>
        (['start', 'final'] as const).map(
          (at): Point => ({
            name: `${text} to MKD ${nth} at ${at}`,
            rules: [{ on: 'MKD', nth, do: { kind: 'reply', text, at } }],
            judged: CLEAN,
            resends: 2,
          }),
        ),
      ),
    );
    expect(await sweep(points, missing)).toBe(30);
  });

  test('that never works: the files are left, with the server’s words, and go with the next run', async () => {
    const points = ['521 Exists.', '550 No.'].map(
      (text): Point => ({
        name: text,
        rules: [{ on: 'MKD', nth: 'every', do: { kind: 'reply', text } }],
        judged: /^partial(?: skip:(?:521|550|553))+$/,
        resends: 9,
      }),
    );
    expect(await sweep(points, missing)).toBe(2);
  });
});

describe('RNTO refused onto a file that is there', () => {
  const texts = [
    '550 Cannot create a file when that file already exists.',
    '553 File exists.',
    '550 Rename failed.',
    '553 No.',
  ];

  test.each(texts)('%j: the old one goes first, and is never half there', async (renameRefused) => {
    const iis: SweepOptions = { server: { renameOverwrites: false, replies: { renameRefused } } };
    expect(await sweep([itself(CLEAN)], iis)).toBe(1);
  });

  test('and then DELE is refused, or RNTO once more', async () => {
    const points: Point[] = [
      {
        name: 'DELE refused',
        rules: [{ on: 'DELE', do: { kind: 'reply', text: '550 No.' } }],
        judged: /^partial skip:550$/,
      },
      {
        name: 'DELE later',
        rules: [{ on: 'DELE', do: { kind: 'reply', text: '450 Later.' } }],
        judged: again('450'),
      },
      {
        name: 'RNTO refused again',
        rules: [{ on: 'RNTO', nth: 2, times: 2, do: { kind: 'reply', text: '550 No.' } }],
        judged: /^(?:ok|partial skip:550)$/,
        resends: 3,
      },
      {
        name: 'RNTO in use',
        rules: [{ on: 'RNTO', nth: 2, do: { kind: 'reply', text: '550 The file is in use.' } }],
        judged: perhapsAgain('550'),
      },
    ];
    expect(await sweep(points, { server: { renameOverwrites: false } })).toBe(4);
  });

  test('where nothing stands, the refusal is about the file', async () => {
    const points = texts.map(
      (text): Point => ({
        name: text,
        rules: [{ on: 'RNTO', do: { kind: 'reply', text } }],
        judged: /^partial skip:55[03]$/,
      }),
    );
    expect(await sweep(points, { files: { one: 'one' } })).toBe(texts.length);
  });
});

test('a server that refuses everything it is asked for: each refusal is told, and no file is half there', async () => {
  const verbs = ['EPSV', 'STOR', 'SIZE', 'MFMT', 'RNFR', 'RNTO'];
  const codes = [500, 502, 503, 530, 550, 553, 599, 400, 425, 426, 451];
  // A server without renames is written to directly, where a file is seen while it grows: that is another story.
  // So is one that lets nothing be renamed (no-rename.test.ts).
  const tells = (on: string, code: number): boolean =>
    !(/^RN/.test(on) && code >= 500 && code < 505) && !(on === 'RNFR' && (code === 550 || code === 553));
  const points = verbs.flatMap((on) =>
    codes
      .filter((code) => tells(on, code))
      .map(
        (code): Point => ({
          name: `${on} ${code}`,
          rules: [{ on, nth: 'every', do: { kind: 'reply', text: `${code} No.` } }],
          judged: /^(?:ok|partial|failed)/,
          resends: 99,
        }),
      ),
  );
  expect(await sweep(points, { attempts: 2 })).toBe(verbs.length * codes.length - 8);
});

test('the policy of the server about protection ends the run', async () => {
  const points = ['STOR', 'EPSV'].flatMap((on) =>
    [533, 534, 536].map(
      (code): Point => ({
        name: `${on} ${code}`,
        rules: [{ on, nth: 'every', do: { kind: 'reply', text: `${code} Policy.` } }],
        judged: ended(`trust/${code}`),
      }),
    ),
  );
  expect(await sweep(points)).toBe(6);
});
