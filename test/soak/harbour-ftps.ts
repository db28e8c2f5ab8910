/*
 * The server of the soak that speaks FTP over explicit TLS: vsftpd where it is there, else the scripted server. The
 * link over it has the ports that the server names for data connections, too.
 */
import { userInfo } from 'node:os';
import { certificates } from '../support/certificates.js';
import { startFtpServer } from '../support/ftp-server.js';
import { findServer } from '../support/real-server.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import type { Chance } from './chance.js';
import { type Harbour, LINK_HOST, type Link, openLink, PASSWORD, type Running } from './harbour.js';
import type { Relay } from './relay.js';
import type { Owner } from './workshop.js';

/** More than all the connections of the daemon and their predecessors want at once. */
const DATA_PORTS = 48;

export class FtpsHarbour implements Harbour {
  readonly name = 'nas';
  readonly kind: 'vsftpd' | 'scripted server';
  readonly relay: Relay;
  /** Both kinds work as who runs the soak. */
  readonly owner: Owner;
  readonly files: Readonly<Record<string, string>>;
  readonly #root: string;
  readonly #link: Link;
  #running: Running | undefined;
  #nextData = 0;

  private constructor(root: string, link: Link, authority: string) {
    const { uid, gid } = userInfo();
    this.kind = findServer('vsftpd') === undefined ? 'scripted server' : 'vsftpd';
    this.owner = { uid, gid };
    this.files = { 'ca.pem': authority };
    this.#root = root;
    this.#link = link;
    this.relay = link.relay;
  }

  /**
   * Finds ports, puts the link over them, and the server there.
   *
   * @param root existing directory that a login begins in
   */
  static async open(root: string, chance: Chance): Promise<FtpsHarbour> {
    const { ca } = await certificates();
    const harbour = new FtpsHarbour(root, await openLink(chance, DATA_PORTS), ca.cert);
    try {
      await harbour.up();
    } catch (error) {
      await harbour.relay.close();
      throw error;
    }
    return harbour;
  }

  get entry(): Readonly<Record<string, unknown>> {
    return {
      url: `ftpes://${LINK_HOST}:${this.#link.controlPort}`,
      user: 'anonymous',
      password: { env: 'NAS_PASSWORD' },
      tls: { ca: 'ca.pem', serverName: 'localhost' },
      timeouts: { connect: '3s', reply: '4s', stall: '4s' },
    };
  }

  async up(): Promise<void> {
    this.#running ??= this.kind === 'vsftpd' ? await this.#vsftpd() : await this.#scripted();
    this.relay.point(this.#running.port);
  }

  async down(): Promise<void> {
    this.relay.point(undefined);
    const running = this.#running;
    this.#running = undefined;
    await running?.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    await this.relay.close();
  }

  #vsftpd(): Promise<Running> {
    const { dataPorts } = this.#link;
    return startVsftpd({
      root: this.#root,
      password: PASSWORD,
      security: 'explicit',
      requireTls: true,
      settings: { pasv_min_port: String(dataPorts[0]), pasv_max_port: String(dataPorts.at(-1)) },
    });
  }

  async #scripted(): Promise<Running> {
    const { dataPorts } = this.#link;
    const { good } = await certificates();
    const told = (port: number): number => {
      const outer = dataPorts[this.#nextData % dataPorts.length] ?? 0;
      this.#nextData += 1;
      this.relay.pointData(outer, port);
      return outer;
    };
    const server = await startFtpServer({
      root: this.#root,
      users: { anonymous: PASSWORD },
      security: 'explicit',
      requireTls: true,
      requireSessionReuse: true,
      certificate: good,
      replies: {
        epsv: (port) => `229 Entering Extended Passive Mode (|||${told(port)}|)`,
        pasv: (address, high, low) => {
          const outer = told(high * 256 + low);
          return `227 Entering Passive Mode (${address},${outer >> 8},${outer & 255}).`;
        },
      },
    });
    return { port: server.port, stop: () => server.close() };
  }
}
