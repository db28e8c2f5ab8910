/* The certificate of our own, from an account's credentials to the servers that demand it; and active mode with TLS there. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { judge } from '../../src/remote/failure.js';
import type { FtpCredentials } from '../../src/remote/ftp/account.js';
import { type Certificate, certificates } from '../support/certificates.js';
import { describeReal, type RealServer } from '../support/real-server.js';
import { startProftpd } from '../support/servers/proftpd.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { FtpBerth, type FtpBerthOptions } from './berth.js';
import { deliveryOf, sourceOf } from './contract.js';
import { RealBerth } from './real-berth.js';

const all = await certificates();
const versions = ['TLSv1.2', 'TLSv1.3'] as const;

function shown(own: Certificate | undefined): Partial<FtpCredentials> {
  return { certificate: own?.cert, key: own?.key };
}

function demanding(own: Certificate | undefined, version: (typeof versions)[number]): FtpBerthOptions {
  return {
    server: {
      security: 'explicit',
      requireTls: true,
      requireSessionReuse: true,
      clientCa: all.ca.cert,
      tlsVersions: { min: version, max: version },
    },
    credentials: shown(own),
  };
}

async function refusalOf(work: Promise<unknown>): Promise<ReturnType<typeof judge>> {
  return work.then(
    () => {
      throw new Error('it was let in');
    },
    (error: unknown) => judge(error),
  );
}

describe.each(versions)('a server that demands a certificate, %s', (version) => {
  test('gets it, on the control connection and on each data connection', async () => {
    await using berth = await FtpBerth.open(demanding(all.client, version));
    for (const name of ['one', 'two', 'three']) {
      await berth.remote.deliver(deliveryOf(name, sourceOf(name)));
      expect(await readFile(join(berth.disk, name), 'utf8')).toBe(name);
    }
    expect((await berth.remote.list('')).files).toHaveLength(3);
    expect(berth.server.journal.dataConnections).toBe(4);
  });

  test('and refuses who has none before anybody logs in, with what to do', async () => {
    await using berth = await FtpBerth.open(demanding(undefined, version));
    const failure = await refusalOf(berth.remote.deliver(deliveryOf('file', sourceOf('x'))));
    expect(failure).toMatchObject({ kind: 'trust', beforeSession: true });
    expect(failure.message).toContain('tls.certificate');
    expect(berth.server.journal.verbs()).not.toContain('PASS');
  });
});

type Starter = (caFile: string, maxTls: (typeof versions)[number]) => Promise<RealServer>;

const real: readonly (readonly ['vsftpd' | 'proftpd', Starter])[] = [
  [
    'vsftpd',
    (caFile, maxTls) =>
      startVsftpd({
        security: 'explicit',
        requireTls: true,
        requireSessionReuse: true,
        maxTls,
        settings: { require_cert: 'YES', validate_cert: 'YES', ca_certs_file: caFile },
      }),
  ],
  [
    'proftpd',
    (caFile, maxTls) =>
      startProftpd({
        security: 'explicit',
        requireTls: true,
        requireSessionReuse: true,
        maxTls,
        settings: ['TLSVerifyClient on', `TLSCACertificateFile ${caFile}`],
      }),
  ],
];

for (const [name, start] of real) {
  describeReal(name, 'explicit', () => {
    let directory: TemporaryDirectory;
    beforeAll(async () => {
      directory = await temporaryDirectory('trust');
      await writeFile(directory.join('ca.pem'), all.ca.cert);
    });
    afterAll(() => directory.remove());

    describe.each(versions)(`${name} that demands a certificate, %s`, (version) => {
      const open = (own: Certificate | undefined): Promise<RealBerth> =>
        RealBerth.open(() => start(directory.join('ca.pem'), version), 'explicit', {
          credentials: shown(own),
        });

      test('gets it, on the control connection and on each data connection', async () => {
        await using berth = await open(all.client);
        for (const file of ['one', 'two', 'three']) {
          await berth.remote.deliver(deliveryOf(file, sourceOf(file)));
          expect(await readFile(join(berth.disk, file), 'utf8')).toBe(file);
        }
      });

      test.each([
        ['none', undefined],
        ['one that nobody has signed', all.selfSigned],
      ] as const)('and refuses %s, with what to do', async (_what, own) => {
        await using berth = await open(own);
        const failure = await refusalOf(berth.remote.deliver(deliveryOf('file', sourceOf('x'))));
        expect(failure).toMatchObject({ kind: 'trust', beforeSession: true });
        expect(failure.message).toContain('tls.certificate');
      });
    });
  });
}
