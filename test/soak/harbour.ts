/*
 * A server of the soak behind its bad link. It can be taken away and put back, with its files, under the same address;
 * to the daemon it is one server all the time. What kind of server it is stands in harbour-ftps.ts and harbour-sftp.ts.
 */
import { createServer } from 'node:net';
import type { Chance } from './chance.js';
import { Relay } from './relay.js';
import type { Owner } from './workshop.js';

/** What the account of every server here asks for. */
export const PASSWORD = 'correct-horse-battery-staple';

export const LINK_HOST = '127.0.0.2';
const SERVER_HOST = '127.0.0.1';
const PORT_TRIES = 40;

export interface Harbour extends AsyncDisposable {
  /** What jobs call the server. */
  readonly name: 'nas' | 'vault';
  readonly kind: 'vsftpd' | 'scripted server' | 'openssh';
  readonly relay: Relay;
  /** Whose the files on the server are. */
  readonly owner: Owner;
  /** What `servers.yaml` says of it. */
  readonly entry: Readonly<Record<string, unknown>>;
  /** Name to content of what has to stand beside `servers.yaml`. */
  readonly files: Readonly<Record<string, string>>;
  /** Puts the server there; nothing where it is there. */
  up(): Promise<void>;
  /** Takes it away, with whatever it is doing. */
  down(): Promise<void>;
}

/** A server that runs. */
export interface Running {
  readonly port: number;
  stop(): Promise<void>;
}

export interface Link {
  readonly relay: Relay;
  readonly controlPort: number;
  readonly dataPorts: readonly number[];
}

/**
 * Finds ports that are free at both ends, and opens a relay on them that leads nowhere yet.
 *
 * @throws Error where there are none, after many tries
 */
export async function openLink(chance: Chance, dataPortCount: number): Promise<Link> {
  for (let attempt = 1; ; attempt += 1) {
    // Below the ports that the system gives away by itself.
    const first = chance.between(15_000, 31_000);
    const ports = Array.from({ length: dataPortCount + 1 }, (_, offset) => first + offset);
    const [controlPort = 0, ...dataPorts] = ports;
    try {
      for (const port of ports) await mustBeFree(port);
      const relay = await Relay.open({ host: LINK_HOST, controlPort, dataPorts, serverHost: SERVER_HOST });
      return { relay, controlPort, dataPorts };
    } catch (error) {
      if (attempt === PORT_TRIES) throw error;
    }
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
