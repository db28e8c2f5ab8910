/*
 * The Remote contract against the real SFTP servers. One server for a whole contract: each test has its own directory,
 * account and connections there.
 */
import { afterAll, beforeAll } from 'vitest';
import { describeReal, describeWhere } from '../support/real-server.js';
import type { RealSshServer } from '../support/servers/openssh.js';
import { remoteContract } from './contract.js';
import { keptLinks } from './kept-links.js';
import { RealSftpBerth, sftpKinds } from './real-sftp-berth.js';

for (const { server: name, title, login, traits, advice, turns, start } of sftpKinds) {
  describeReal(name, name, () => {
    describeWhere(`${name} with ${title}`, advice, title, () => {
      let servers: readonly RealSshServer[] = [];
      let opened = 0;
      beforeAll(async () => {
        servers = await Promise.all(Array.from({ length: turns }, start));
      });
      afterAll(() => Promise.all(servers.map((server) => server.stop())));
      const open = async (): Promise<RealSftpBerth> => {
        const server = servers[opened % turns];
        opened += 1;
        if (server === undefined) throw new Error(`${name} does not run`);
        return RealSftpBerth.beside(server, { login });
      };
      remoteContract(`${name}, ${title}`, open, traits);
      keptLinks(`${name}, ${title}`, open, name === 'mod-sftp' ? { links: 'absolute' } : {});
    });
  });
}
