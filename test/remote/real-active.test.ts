/* Active mode with the real servers: they make the data connections, to a port of ours, and TLS is up to us all the same. */
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import type { FtpServer as Settings } from '../../src/job/job.js';
import { describeReal } from '../support/real-server.js';
import { deliveryOf, fetched, hundredFiles, sourceOf } from './contract.js';
import { kinds, RealBerth } from './real-berth.js';

/** Two ports in a row that nobody uses just now. */
async function freePorts(): Promise<{ first: number; last: number }> {
  for (let tries = 0; tries < 100; tries += 1) {
    const one = createServer();
    const port = await new Promise<number>((resolve) => {
      one.listen(0, '127.0.0.1', () => {
        const address = one.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
    const two = createServer();
    const free = await new Promise<boolean>((resolve) => {
      two.once('error', () => resolve(false));
      two.listen(port + 1, '127.0.0.1', () => resolve(true));
    });
    await new Promise((resolve) => one.close(resolve));
    if (free) await new Promise((resolve) => two.close(resolve));
    if (free) return { first: port, last: port + 1 };
  }
  throw new Error('no two free ports in a row');
}

for (const { name, securities, start } of kinds) {
  for (const security of securities) {
    // Of its TLS handshakes in active mode pyftpdlib resets about one in a hundred (measured): a run tries again.
    if (name === 'pyftpdlib' && security !== 'plain') continue;
    describeReal(name, security, () => {
      const open = (settings: Partial<Settings>): Promise<RealBerth> =>
        RealBerth.open(() => start(security), security, { dataConnection: 'active', ...settings });

      test(`${name}, ${security}: a hundred files there and back, and their listings`, async () => {
        // pyftpdlib connects from a port beside its own, and has to wait where several connections want that.
        await using berth = await open(name === 'pyftpdlib' ? { connections: 1 } : {});
        const files = hundredFiles();
        await Promise.all(
          [...files].map(([path, content]) => berth.remote.deliver(deliveryOf(path, sourceOf(content)))),
        );
        for (const [path, content] of files) {
          expect((await fetched(berth.remote, path)).equals(content), path).toBe(true);
        }
        expect((await berth.remote.list('d3')).files).toHaveLength(10);
        expect(berth.learned.filter((sentence) => /passive|EPSV|PASV/.test(sentence))).toEqual([]);
      });

      test(`${name}, ${security}: over ports of a range, one after the other`, async () => {
        const ports = await freePorts();
        await using berth = await open({ connections: 1, active: { address: undefined, ports } });
        for (let place = 0; place < 6; place += 1) {
          await berth.remote.deliver(deliveryOf(`file-${place}`, sourceOf(`content ${place}`)));
        }
        expect((await berth.remote.list('')).files).toHaveLength(6);
      });
    });
  }
}
