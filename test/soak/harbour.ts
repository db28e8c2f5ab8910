/*
 * The server of the soak behind its bad link: vsftpd over explicit TLS where it is there, else the scripted server. It
 * can be taken away and put back, with its files, under the same address; to the daemon it is one server all the time.
 */
import { createServer } from 'node:net';
import { certificates } from '../support/certificates.js';
import { startFtpServer } from '../support/ftp-server.js';
import { findServer } from '../support/real-server.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import type { Chance } from './chance.js';
import { Relay } from './relay.js';

/** What the account of every server here asks for. */
export const PASSWORD = 'correct-horse-battery-staple';

const SERVER_HOST = '127.0.0.1';
const LINK_HOST = '127.0.0.2';
/** More than all the connections of the daemon and their predecessors want at once. */
const DATA_PORTS = 48;
const PORT_TRIES = 40;

/** A server that runs. */
interface Running {
  readonly port: number;
  stop(): Promise<void>;
}

export class Harbour implements AsyncDisposable {
  readonly kind: 'vsftpd' | 'scripted server';
  readonly relay: Relay;
  readonly #root: string;
  readonly #controlPort: number;
  readonly #dataPorts: readonly number[];
  #running: Running | undefined;
  #nextData = 0;

  private constructor(root: string, ports: readonly number[], relay: Relay) {
    const [controlPort = 0, ...dataPorts] = ports;
    this.kind = findServer('vsftpd') === undefined ? 'scripted server' : 'vsftpd';
    this.#root = root;
    this.#controlPort = controlPort;
    this.#dataPorts = dataPorts;
    this.relay = relay;
  }

  /**
   * Finds ports and puts the link over them; the server is down still.
   *
   * @param root existing directory that a login begins in
   */
  static async open(root: string, chance: Chance): Promise<Harbour> {
    for (let attempt = 1; ; attempt += 1) {
      // Below the ports that the system gives away by itself.
      const first = chance.between(15_000, 31_000);
      const ports = Array.from({ length: DATA_PORTS + 1 }, (_, offset) => first + offset);
      const [controlPort = 0, ...dataPorts] = ports;
      try {
        for (const port of ports) await mustBeFree(port);
        const relay = await Relay.open({
          host: LINK_HOST,
          controlPort,
          dataPorts,
          serverHost: SERVER_HOST,
        });
        return new Harbour(root, ports, relay);
      } catch (error) {
        if (attempt === PORT_TRIES) throw error;
      }
    }
  }

  /** What `servers.yaml` says of it; the authority's certificate stands beside it as `ca.pem`. */
  get entry(): Readonly<Record<string, unknown>> {
    return {
      url: `ftpes://${LINK_HOST}:${this.#controlPort}`,
      user: 'anonymous',
      password: { env: 'NAS_PASSWORD' },
      tls: { ca: 'ca.pem', serverName: 'localhost' },
      timeouts: { connect: '3s', reply: '4s', stall: '4s' },
    };
  }

  /** Puts the server there. */
  async up(): Promise<void> {
    this.#running ??= this.kind === 'vsftpd' ? await this.#vsftpd() : await this.#scripted();
    this.relay.point(this.#running.port);
  }

  /** Takes it away, with whatever it is doing. */
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
    return startVsftpd({
      root: this.#root,
      password: PASSWORD,
      security: 'explicit',
      requireTls: true,
      settings: {
        pasv_min_port: String(this.#dataPorts[0]),
        pasv_max_port: String(this.#dataPorts.at(-1)),
      },
    });
  }

  async #scripted(): Promise<Running> {
    const { good } = await certificates();
    const told = (port: number): number => {
      const outer = this.#dataPorts[this.#nextData % this.#dataPorts.length] ?? 0;
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

/** @throws Error where something listens there */
async function mustBeFree(port: number): Promise<void> {
  const probe = createServer();
  await new Promise<void>((done, failed) => {
    probe.once('error', failed);
    probe.listen(port, SERVER_HOST, done);
  });
  await new Promise((done) => probe.close(done));
}
