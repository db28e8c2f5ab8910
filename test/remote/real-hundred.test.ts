/*
 * A hundred files there and a hundred back over one control connection, with the servers that want every data
 * connection to resume that connection's TLS session: plain, TLS 1.2 and TLS 1.3. The server's own log is the witness.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeReal, type ServerName, type ServerOptions } from '../support/real-server.js';
import { deliveryOf, fetched, filesBelow, hundredFiles, sha256, sourceOf } from './contract.js';
import { kinds, RealBerth, type Security } from './real-berth.js';

interface Witness {
  /** How many control connections it takes: pyftpdlib loses one, stumbling over a command behind STOR. */
  readonly connections: number;
  /** How many control connections the log knows of; Pure-FTPd's says nothing of them. */
  readonly opened?: RegExp;
  /** Finds the TLS version of the control connection in the log. */
  readonly version?: RegExp;
  /** Finds each data connection that resumed a session. */
  readonly resumed?: RegExp;
}

const witnesses: Readonly<Record<ServerName, Witness>> = {
  vsftpd: {
    connections: 1,
    opened: /CONNECT: Client/g,
    version: /SSL version: (\S+), .*, not reused,/,
    resumed: /SSL version: .*, reused,/g,
  },
  proftpd: {
    connections: 1,
    opened: /FTP session opened/g,
    version: /(TLSv\S+) connection accepted/,
    resumed: /client reused TLS session for data connection/g,
  },
  'pure-ftpd': { connections: 1 },
  pyftpdlib: { connections: 2, opened: /FTP session opened/g },
};

function count(log: string, what: RegExp): number {
  return [...log.matchAll(what)].length;
}

const variants: readonly (readonly [string, Security, ServerOptions['maxTls']])[] = [
  ['plain', 'plain', undefined],
  ['explicit, TLS 1.2', 'explicit', 'TLSv1.2'],
  ['explicit, TLS 1.3', 'explicit', 'TLSv1.3'],
  ['implicit, TLS 1.3', 'implicit', 'TLSv1.3'],
];

for (const { name, securities, start } of kinds) {
  for (const [title, security, maxTls] of variants.filter(([, wanted]) => securities.includes(wanted))) {
    describeReal(name, `${name}, ${title}`, () => {
      test('a hundred files there and back over one connection', async () => {
        await using berth = await RealBerth.open(
          () => start(security, maxTls === undefined ? {} : { maxTls }),
          security,
          { connections: 1 },
        );
        const files = hundredFiles();
        await Promise.all(
          [...files].map(([path, content]) => berth.remote.deliver(deliveryOf(path, sourceOf(content)))),
        );
        expect(await filesBelow(berth.disk)).toEqual([...files.keys()]);
        for (const [path, content] of files)
          expect(sha256(await readFile(join(berth.disk, path))), path).toBe(sha256(content));
        await Promise.all(
          [...files].map(async ([path, content]) =>
            expect(sha256(await fetched(berth.remote, path)), path).toBe(sha256(content)),
          ),
        );
        const { connections, opened, version, resumed } = witnesses[name];
        expect(berth.opened).toHaveLength(connections);
        const log = await berth.server.log();
        if (opened !== undefined) expect(count(log, opened)).toBe(connections);
        if (version !== undefined && maxTls !== undefined) expect(version.exec(log)?.[1]).toBe(maxTls);
        if (resumed !== undefined && maxTls !== undefined) expect(count(log, resumed)).toBe(2 * files.size);
      });
    });
  }
}
