/* The Remote contract against the real FTP servers: plain, explicit TLS and, where they can, implicit TLS. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Server } from '../../src/job/job.js';
import { Account } from '../../src/remote/account.js';
import type { Remote } from '../../src/remote/remote.js';
import { held, nothingLeft } from '../ftp/stage.js';
import { certificates } from '../support/certificates.js';
import { describeReal, type RealServer, type ServerName } from '../support/real-server.js';
import { startProftpd } from '../support/servers/proftpd.js';
import { startPyftpdlib } from '../support/servers/pyftpdlib.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import { serverSettings } from './berth.js';
import { type Berth, remoteContract, type Traits } from './contract.js';

type Security = Server['security'];

/** A remote on a real server, opened as the daemon opens it. */
class RealBerth implements Berth {
  readonly disk: string;
  readonly remote: Remote;
  readonly #server: RealServer;
  readonly #account: Account;
  readonly #before: ReadonlyMap<string, number>;

  private constructor(parts: { server: RealServer; account: Account; before: ReadonlyMap<string, number> }) {
    this.disk = join(parts.server.root, 'dumps');
    this.remote = parts.account.remote({ path: 'dumps', absolute: false });
    this.#server = parts.server;
    this.#account = parts.account;
    this.#before = parts.before;
  }

  static async open(start: () => Promise<RealServer>, security: Security): Promise<RealBerth> {
    const before = held();
    const { ca } = await certificates();
    const server = await start();
    await mkdir(join(server.root, 'dumps'), { recursive: true });
    await server.adopt();
    const account = new Account(
      { ...serverSettings({ address: server.host, port: server.port }, security), user: server.user },
      { password: server.password, account: undefined, ca: ca.cert },
      { onOpened: () => {}, onLearned: () => {}, onWire: undefined },
    );
    return new RealBerth({ server, account, before });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#account.close();
    await this.#server.stop();
    await nothingLeft(this.#before);
  }
}

type Starter = (security: Security) => Promise<RealServer>;

const servers: Readonly<Partial<Record<ServerName, readonly [Starter, readonly Security[], Traits]>>> = {
  vsftpd: [
    (security) => startVsftpd({ security, requireTls: security !== 'plain', requireSessionReuse: true }),
    ['plain', 'explicit', 'implicit'],
    {},
  ],
  proftpd: [
    (security) => startProftpd({ security, requireTls: security !== 'plain', requireSessionReuse: true }),
    ['plain', 'explicit', 'implicit'],
    { names: 'no-globs' },
  ],
  pyftpdlib: [
    (security) => startPyftpdlib({ security, requireTls: security !== 'plain' }),
    ['plain', 'explicit', 'implicit'],
    { links: 'unseen' },
  ],
};

for (const [name, [start, securities, traits]] of Object.entries(servers)) {
  for (const security of securities) {
    describeReal(name as ServerName, security, () => {
      remoteContract(`${name}, ${security}`, () => RealBerth.open(() => start(security), security), traits);
    });
  }
}
