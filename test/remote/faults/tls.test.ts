/*
 * TLS that does not come about, is not to be trusted, or is ended badly (RFC 4217): whole runs against it. Above all
 * nothing ever goes out in the clear where TLS was asked for; and what a person mends lets the next run through.
 */
import { type AddressInfo, createServer, connect as tcpConnect } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { FtpServer as Settings } from '../../../src/job/job.js';
import { type VoyageOptions, World } from '../../run/support/voyage.js';
import { type Certificates, certificates } from '../../support/certificates.js';
import type { Fault } from '../../support/ftp-server/fault.js';
import type { FtpServer } from '../../support/ftp-server.js';
import {
  again,
  CLEAN,
  ended,
  LOST,
  type Point,
  perhapsAgain,
  reconnected,
  type SweepOptions,
  sweep,
} from './sweep.js';

const explicit: SweepOptions = { server: { security: 'explicit' } };
const implicit: SweepOptions = { server: { security: 'implicit' } };

const itself = (judged: RegExp): Point => ({ name: 'as it is', rules: [], judged, stir: () => () => {} });

/** Names and passwords in the clear are noticed, also where the server refuses them. */
function watchClear(server: FtpServer): () => void {
  let secured = false;
  const told: string[] = [];
  const stops = [
    server.on('command', (verb) => {
      if (['USER', 'PASS', 'ACCT'].includes(verb) && !secured) told.push(verb);
    }),
    server.on('reply', (text, verb) => {
      if (verb === 'greeting') secured = false;
      if (verb === 'PBSZ' && text.startsWith('200')) secured = true;
    }),
  ];
  return () => {
    for (const stop of stops) stop();
    expect(told).toEqual([]);
  };
}

describe('AUTH', () => {
  test('refused in every way: the run ends, and nothing was said in the clear', async () => {
    const codes = [202, 334, 350, 400, 431, 450, 500, 501, 502, 503, 504, 530, 534, 550];
    const points = codes.map(
      (code): Point => ({
        name: `AUTH ${code}`,
        rules: [{ on: 'AUTH', do: { kind: 'reply', text: `${code} No.` } }],
        // A 202 is a 2yz: the handshake is begun, and nobody answers it.
        judged: code === 202 ? reconnected(`${LOST}|ERR_SSL_\\w+`) : ended(`trust/${code}`),
        stir: watchClear,
      }),
    );
    expect(await sweep(points, { ...explicit, patience: 'impatient' })).toBe(codes.length);
  });

  test('PBSZ and PROT refused', async () => {
    const points = ['PBSZ', 'PROT'].flatMap((on) =>
      [431, 500, 502, 503, 504, 533, 534, 536].map(
        (code): Point => ({
          name: `${on} ${code}`,
          rules: [{ on, do: { kind: 'reply', text: `${code} No.` } }],
          judged: ended(`trust/${code}`),
        }),
      ),
    );
    expect(await sweep(points, explicit)).toBe(16);
  });

  test('bytes around the 234, in every number of packets', async () => {
    const injected = [
      'x',
      '\r\n',
      '\0',
      '220',
      '230 In.\r\n',
      '331 Go on.\r\n',
      '230-In',
      '500 No.\r\n'.repeat(300),
    ];
    const behind = injected.map(
      (bytes): Point => ({
        name: `${JSON.stringify(bytes.slice(0, 12))} behind it`,
        rules: [{ on: 'AUTH', do: { kind: 'inject', bytes } }],
        judged: ended('trust/injected'),
        stir: watchClear,
      }),
    );
    // Apart from the 234 it may also come while the handshake is under way, which fails then.
    const apart = injected.map(
      (bytes): Point => ({
        name: `${JSON.stringify(bytes.slice(0, 12))} in a packet of its own`,
        rules: [{ on: 'AUTH', do: { kind: 'bytes', pieces: ['234 Go on.\r\n', bytes] } }],
        judged: new RegExp(`${ended('trust/injected').source}|${reconnected('.*').source}`),
        stir: watchClear,
      }),
    );
    const before = ['220 x\r\n', '200 x\r\n'].map(
      (bytes): Point => ({
        name: `${JSON.stringify(bytes)} before it`,
        rules: [{ on: 'AUTH', do: { kind: 'prepend', bytes } }],
        judged: ended('trust/injected'),
        stir: watchClear,
      }),
    );
    const points = [...behind, ...apart, ...before];
    expect(await sweep(points, { ...explicit, patience: 'impatient' })).toBe(18);
  });
});

const broken: Readonly<Record<string, Fault>> = {
  reset: { kind: 'reset' },
  closed: { kind: 'close' },
  'answered with words': { kind: 'bytes', pieces: 'HTTP/1.1 400 Bad Request\r\n\r\n' },
  'answered with an alert': {
    kind: 'bytes',
    pieces: Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28]),
  },
  stalled: { kind: 'hang' },
};

describe('the handshake', () => {
  test.each([
    ['explicit', explicit],
    ['implicit', implicit],
  ] as const)('%s: broken once it is made anew, broken each time the run ends', async (_name, journey) => {
    const points = Object.entries(broken).flatMap(([name, fault]): Point[] => [
      {
        name: `${name} once`,
        rules: [{ on: 'tls', do: fault }],
        judged: reconnected(`${LOST}|ERR_SSL_\\w+`),
        stir: watchClear,
      },
      {
        name: `${name} each time`,
        rules: [{ on: 'tls', nth: 'every', do: fault }],
        judged: ended('(?:trust|unreachable)/\\S+'),
        stir: watchClear,
      },
    ]);
    expect(await sweep(points, { ...journey, patience: 'impatient', attempts: 3 })).toBe(10);
  });

  test.each(['push', 'pull'] as const)(
    'of the data connection, %s: broken at each of them',
    async (direction) => {
      const points = Object.entries(broken).flatMap(([name, fault]) =>
        [1, 2, 3].map(
          (nth): Point => ({
            name: `${name}, connection ${nth}`,
            rules: [{ on: 'data-tls', nth, do: fault }],
            judged: perhapsAgain(`425|${LOST}|ERR_SSL_\\w+`),
          }),
        ),
      );
      expect(await sweep(points, { ...explicit, direction, patience: 'impatient' })).toBe(15);
    },
  );
});

describe('versions', () => {
  const versions = [
    ['1.2 and nothing else', { max: 'TLSv1.2' }],
    ['1.3 and nothing else', { min: 'TLSv1.3' }],
  ] as const;
  const insisting = ['vsftpd', 'proftpd'] as const;
  const ways = versions.flatMap(([name, tlsVersions]) =>
    (['explicit', 'implicit'] as const).flatMap((security) =>
      insisting.map((requireSessionReuse) => [name, security, requireSessionReuse, tlsVersions] as const),
    ),
  );

  test.each(ways)(
    '%s, %s, session reuse as %s wants it',
    async (_name, security, requireSessionReuse, tlsVersions) => {
      const server = { security, requireSessionReuse, tlsVersions };
      expect(await sweep([itself(CLEAN)], { server })).toBe(1);
      expect(await sweep([itself(CLEAN)], { server, direction: 'pull' })).toBe(1);
    },
  );
});

describe('session reuse', () => {
  test.each(['vsftpd', 'proftpd'] as const)(
    'refused once, as %s does it: made anew',
    async (requireSessionReuse) => {
      const server = { security: 'explicit', requireSessionReuse } as const;
      const judged = perhapsAgain(`425|450|522|${LOST}`);
      const refused = (on: string, nth: number): Point => ({
        name: `${on} ${nth}`,
        rules: [{ on, nth, do: { kind: 'noResumption' } }],
        judged,
      });
      expect(
        await sweep(
          [1, 2, 3].map((nth) => refused('STOR', nth)),
          { server },
        ),
      ).toBe(3);
      const pull = [refused('MLSD', 1), refused('RETR', 1), refused('RETR', 3)];
      expect(await sweep(pull, { server, direction: 'pull' })).toBe(3);
    },
  );

  test('refused in the words of others', async () => {
    const texts = [
      '450 TLS session of data connection not resumed.',
      '425 Unable to build data connection: TLS session of data connection has not resumed',
      '522 SSL connection failed; session reuse required',
    ];
    const points = texts.flatMap((text) =>
      [1, 2].map(
        (nth): Point => ({
          name: `${text} ${nth}`,
          rules: [{ on: 'STOR', nth, do: { kind: 'reply', text } }],
          judged: perhapsAgain(`425|450|522|${LOST}`),
        }),
      ),
    );
    expect(await sweep(points, explicit)).toBe(6);
  });
});

describe('close_notify', () => {
  test('a server that never sends it: sizes decide, and nothing is lost', async () => {
    const journeys: readonly (readonly [SweepOptions, readonly string[]])[] = [
      [{ ...explicit, direction: 'pull' }, ['RETR', 'MLSD']],
      [
        { server: { security: 'explicit', features: { MLSD: false, MLST: false } }, direction: 'pull' },
        ['RETR', 'LIST'],
      ],
    ];
    for (const [options, verbs] of journeys) {
      const points = verbs.flatMap((on) =>
        ([1, 'every'] as const).map(
          (nth): Point => ({
            name: `${on} ${nth}`,
            rules: [{ on, nth, do: { kind: 'noCloseNotify' } }],
            judged: /^(?:ok|partial)/,
          }),
        ),
      );
      expect(await sweep(points, options)).toBe(4);
    }
  });

  test('and cuts the data short without it, behind a 226', async () => {
    const points = [0, 1, 150, 199].map(
      (atByte): Point => ({
        name: `at byte ${atByte}`,
        rules: [{ on: 'RETR', nth: 3, do: [{ kind: 'dataClose', atByte }, { kind: 'noCloseNotify' }] }],
        judged: again(`mismatch|${LOST}`),
      }),
    );
    expect(await sweep(points, { ...explicit, direction: 'pull' })).toBe(4);
  });

  // FileZilla Server takes an upload without it for a broken one.
  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    '%s: every upload of ours ends with it, and then with a FIN',
    async (version) => {
      const ends: string[] = [];
      let target = 0;
      // In front of the data connections: it sees the records, and not what is in them.
      const relay = createServer({ allowHalfOpen: true }, (near) => {
        const far = tcpConnect({ host: '127.0.0.1', port: target, allowHalfOpen: true });
        const sent: Buffer[] = [];
        near.on('data', (chunk) => sent.push(chunk));
        near.once('end', () => ends.push(lastRecord(Buffer.concat(sent))));
        for (const socket of [near, far]) socket.on('error', () => ends.push('reset'));
        near.pipe(far);
        far.pipe(near);
      });
      await new Promise<void>((resolve) => void relay.listen(0, '127.0.0.1', resolve));
      const { port } = relay.address() as AddressInfo;
      try {
        const epsv = (told: number): string => {
          target = told;
          return `229 Entering Extended Passive Mode (|||${port}|)`;
        };
        const server = {
          security: 'explicit',
          tlsVersions: { min: version, max: version },
          replies: { epsv },
        } as const;
        expect(await sweep([itself(CLEAN)], { server })).toBe(1);
      } finally {
        await new Promise((resolve) => relay.close(resolve));
      }
      expect(ends).toEqual(
        Array.from({ length: 3 }, () => (version === 'TLSv1.2' ? 'alert' : 'sealed alert')),
      );
    },
  );
});

/** What the last TLS record is, as far as the wire shows it: under 1.3 an alert is sealed, and 2 + 1 + 16 bytes long. */
function lastRecord(bytes: Buffer): string {
  let [type, length] = [0, 0];
  for (let from = 0; from < bytes.length; from += 5 + length) {
    type = bytes[from] ?? 0;
    length = bytes.readUInt16BE(from + 3);
  }
  if (type === 21) return 'alert';
  return type === 23 && length === 19 ? 'sealed alert' : `record of type ${type} and ${length} bytes`;
}

describe('what a person has to mend', () => {
  type Mend = (server: Settings, all: Certificates) => Partial<Settings>;
  interface Case {
    readonly world: (all: Certificates) => VoyageOptions;
    /** The settings that were wrong; those of the world unless told. */
    readonly wrong?: Mend;
    readonly mend: Mend;
    readonly code: RegExp;
  }
  const pinned =
    (which: keyof Omit<Certificates, 'ca' | 'client'>): Mend =>
    ({ tls }, all) => ({ tls: { ...tls, pin: all[which].pin } });
  const cases: Readonly<Record<string, Case>> = {
    'an expired certificate': {
      world: (all) => ({ server: { security: 'explicit', certificate: all.expired } }),
      mend: pinned('expired'),
      code: /^CERT_HAS_EXPIRED$/,
    },
    'a certificate for another host': {
      world: (all) => ({ server: { security: 'explicit', certificate: all.wrongHost } }),
      mend: ({ tls }) => ({ tls: { ...tls, serverName: 'elsewhere.test' } }),
      code: /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    },
    'a self-signed certificate': {
      world: (all) => ({ server: { security: 'implicit', certificate: all.selfSigned } }),
      mend: pinned('selfSigned'),
      code: /SELF_SIGNED/,
    },
    'the wrong pin': {
      world: () => ({ server: { security: 'explicit' } }),
      wrong: pinned('expired'),
      mend: pinned('good'),
      code: /^PIN$/,
    },
    'ftps:// where the server begins in the clear': {
      world: () => ({ server: { security: 'plain' } }),
      wrong: () => ({ security: 'implicit' }),
      mend: () => ({ security: 'plain' }),
      code: /./,
    },
    'ftpes:// where the server begins with TLS': {
      world: () => ({ server: { security: 'implicit' } }),
      wrong: () => ({ security: 'explicit' }),
      mend: () => ({ security: 'implicit' }),
      code: /./,
    },
    'ftp:// where the server begins with TLS': {
      world: () => ({ server: { security: 'implicit' } }),
      wrong: () => ({ security: 'plain' }),
      mend: () => ({ security: 'implicit' }),
      code: /./,
    },
  };

  test.each(Object.keys(cases))('%s', async (name) => {
    const {
      world: options,
      wrong,
      mend,
      code,
    } = cases[name] ?? { world: () => ({}), mend: () => ({}), code: /^$/ };
    const all = await certificates();
    await using world = await World.open(options(all));
    const patient = world.job.server;
    world.change({
      settings: { timeouts: { ...patient.timeouts, connectMs: 400, replyMs: 400, stallMs: 400 } },
    });
    if (wrong !== undefined) world.change({ settings: wrong(patient, all) });
    for (const file of ['one', 'two']) await world.put(file);
    const report = await world.run();
    expect(report).toMatchObject({ outcome: 'failed', tally: { uploaded: 0, skipped: 0 } });
    expect(report.failure?.kind).toMatch(/^(?:trust|unreachable)$/);
    expect(report.failure?.code).toMatch(code);
    expect(world.count('USER') + world.count('PASS')).toBe(0);
    expect(world.skips()).toEqual([]);

    world.change({ settings: { timeouts: patient.timeouts, ...mend(patient, all) } });
    expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 2 } });
    world.expectConverged();
  });
});
