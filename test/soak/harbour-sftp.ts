/*
 * The server of the soak that speaks SFTP: a real sshd, where there is one. Its host key stays the same when it comes
 * back, as a server's does. The login is by key, which anybody's sshd can have, root's or not.
 */
import { stat } from 'node:fs/promises';
import { findServer } from '../support/real-server.js';
import { type Sshd, startSshd } from '../support/servers/openssh.js';
import type { Chance } from './chance.js';
import { type Harbour, LINK_HOST, type Link, openLink } from './harbour.js';
import type { Relay } from './relay.js';
import type { Owner } from './workshop.js';

export class SftpHarbour implements Harbour {
  readonly name = 'vault';
  readonly kind = 'openssh';
  readonly relay: Relay;
  readonly owner: Owner;
  readonly entry: Readonly<Record<string, unknown>>;
  readonly files: Readonly<Record<string, string>>;
  readonly #root: string;
  #running: Sshd | undefined;

  private constructor(root: string, link: Link, first: Sshd, owner: Owner) {
    this.#root = root;
    this.#running = first;
    this.relay = link.relay;
    this.relay.point(first.port);
    this.owner = owner;
    this.entry = {
      url: `sftp://${first.user}@${LINK_HOST}:${link.controlPort}`,
      privateKey: { file: 'vault.key' },
      hostKey: first.hostKeyFingerprint,
      timeouts: { connect: '3s', reply: '4s', stall: '4s' },
    };
    this.files = { 'vault.key': first.privateKey };
  }

  /** True where there is a server for it. */
  static get possible(): boolean {
    return findServer('openssh') !== undefined;
  }

  /**
   * Puts the server there, and the link over it.
   *
   * @param root existing directory that a login begins in; it becomes the account's
   */
  static async open(root: string, chance: Chance): Promise<SftpHarbour> {
    // All goes over one port.
    const link = await openLink(chance, 0);
    try {
      const sshd = await startSshd({ root, logins: ['key'] });
      const { uid, gid } = await stat(root);
      return new SftpHarbour(root, link, sshd, { uid, gid });
    } catch (error) {
      await link.relay.close();
      throw error;
    }
  }

  async up(): Promise<void> {
    this.#running ??= await startSshd({ root: this.#root, logins: ['key'] });
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
}
