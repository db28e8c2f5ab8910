/*
 * The Remote contract against the real FTP servers: plain, explicit TLS and, where they can, implicit TLS; and what
 * only a real one does. One server for a whole contract: to start one takes longer than most tests, and each test has its own
 * directory, account and connections there.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeReal, type RealServer } from '../support/real-server.js';
import { startPureFtpd } from '../support/servers/pure-ftpd.js';
import { remoteContract } from './contract.js';
import { kinds, RealBerth } from './real-berth.js';

for (const { name, securities, traits, start } of kinds) {
  for (const security of securities) {
    describeReal(name, security, () => {
      let server: RealServer | undefined;
      beforeAll(async () => {
        server = await start(security);
      });
      afterAll(() => server?.stop());
      const open = async (): Promise<RealBerth> => {
        if (server === undefined) throw new Error(`${name} does not run`);
        return RealBerth.beside(server, security);
      };
      remoteContract(`${name}, ${security}`, open, traits);
    });
  }
}

describeReal('pure-ftpd', 'Pure-FTPd lists no more than 10,000 entries', () => {
  /** Makes files with short names, some at a time. */
  async function fill(directory: string, files: number): Promise<void> {
    await mkdir(directory);
    for (let from = 0; from < files; from += 500) {
      const names = Array.from({ length: Math.min(500, files - from) }, (_, place) => String(from + place));
      await Promise.all(names.map((name) => writeFile(join(directory, name), name)));
    }
  }

  test('what it leaves out is known to be missing, and a full listing is known to be full', async () => {
    await using berth = await RealBerth.open(() => startPureFtpd(), 'plain');
    await fill(join(berth.disk, 'more'), 10_050);
    await fill(join(berth.disk, 'fewer'), 9_900);
    await berth.adopt();
    const more = await berth.remote.list('more');
    expect(more.complete).toBe(false);
    expect(more.files.length).toBeGreaterThan(9_900);
    expect(more.files.length).toBeLessThan(10_050);
    const fewer = await berth.remote.list('fewer');
    expect(fewer.complete).toBe(true);
    expect(fewer.files).toHaveLength(9_900);
  });
});
