/*
 * One control connection with what is known of its server: what uploads, downloads and listings share. Runs transfers
 * in the mode of data connections that works, and sees to it that what a failed one says about the server is learned.
 */
import type { DataMode, FtpClient } from '../../ftp/client.js';
import { FtpError } from '../../ftp/errors.js';
import { type DataModeSetting, DataModes, isAboutReuse, isLackOfData } from './data-mode.js';
import type { FtpProfile } from './profile.js';

export interface LineOptions {
  readonly client: FtpClient;
  readonly profile: FtpProfile;
  readonly dataModes: DataModeSetting;
  /** `size`: hashes are not asked for. `hash`: nothing else is proof. */
  readonly verify: 'auto' | 'size' | 'hash';
  /** The newest TLS that the control connection was opened with. */
  readonly tls: 'TLSv1.2' | 'TLSv1.3';
}

/** How many data connections in a row may fail to come about (425) before the control connection is given up with them. */
const PORTS_A_CONNECTION = 2;

export class Line {
  readonly client: FtpClient;
  readonly profile: FtpProfile;
  readonly verify: LineOptions['verify'];
  readonly #modes: DataModes;
  readonly #tls: LineOptions['tls'];

  constructor(options: LineOptions) {
    const { client, profile } = options;
    this.client = client;
    this.profile = profile;
    this.verify = options.verify;
    this.#tls = options.tls;
    this.#modes = new DataModes({
      setting: options.dataModes,
      family: client.isIpv6 ? 'IPv6' : 'IPv4',
      where: client.where,
      profile,
    });
  }

  /** Host and port, for messages. */
  get where(): string {
    return this.client.where;
  }

  /** How the next data connection is agreed on. */
  get mode(): DataMode {
    return this.#modes.current;
  }

  /** True where this side makes the data connections. */
  get isPassive(): boolean {
    return this.#modes.current === 'EPSV' || this.#modes.current === 'PASV';
  }

  /** Runs a transfer in the mode that works, or in the next one where the server refuses it. */
  async transfer<T>(transfer: (mode: DataMode) => Promise<T>): Promise<T> {
    for (;;) {
      const mode = this.#modes.current;
      try {
        const done = await transfer(mode);
        this.worked(mode);
        return done;
      } catch (error) {
        if (!this.goesOnAfter(error, mode)) throw error;
      }
    }
  }

  /** A transfer has gone through in this mode. */
  worked(mode: DataMode): void {
    this.profile.streaks.reuseRefusals = 0;
    this.profile.tls12 = 'untried';
    this.#modes.worked(mode);
  }

  /**
   * What a transfer that failed says about the server; remembers it.
   *
   * @returns true where the same session can go on in another mode
   * @throws {FtpError} `unwilling` where no way is left
   */
  goesOnAfter(error: unknown, mode: DataMode): boolean {
    if (isAboutReuse(error)) this.#reuseRefused(error);
    const goesOn = this.#modes.goesOnAfter(error, mode);
    // New ports did not help; a new connection may.
    const often = this.profile.streaks.dataSetups >= PORTS_A_CONNECTION;
    if (often && isLackOfData(error)) this.client.breakOff('no data connection comes about on it');
    return goesOn;
  }

  /**
   * The server did not take the data connection's TLS session. A new control connection may have a better one; then
   * TLS 1.2, whose sessions are simpler; then nothing will help.
   */
  #reuseRefused(error: unknown): void {
    const { streaks, facts } = this.profile;
    // The server's doing: other files that wait on it are lost with it, and not called off.
    this.client.breakOff('it does not take the TLS session of a data connection');
    // Others that were opened with the former TLS say nothing new.
    if (this.#tls !== facts.tls) return;
    streaks.reuseRefusals += 1;
    if (streaks.reuseRefusals < 2) return;
    streaks.reuseRefusals = 0;
    if (facts.tls === 'TLSv1.3' && this.profile.tls12 === 'untried') {
      this.profile.learn(
        'tls',
        'TLSv1.2',
        `${this.where} does not take the TLS sessions of data connections: TLS 1.2 is tried.`,
      );
      return;
    }
    if (!(error instanceof FtpError)) return;
    const versions =
      facts.tls === 'TLSv1.2' ? 'neither under TLS 1.3 nor 1.2' : 'and lets nobody in with TLS 1.2';
    // The next run may find it mended, and tries both once more.
    this.profile.tls12 = 'untried';
    this.profile.note('tls', 'TLSv1.3');
    throw new FtpError(
      'unwilling',
      `${this.where} takes no data connection, because it does not recognise its own TLS sessions, ${versions}: ${error.message.replace(/[.]$/, '')}. See to its TLS settings (session reuse, session cache).`,
      { phase: 'data-setup', verb: error.verb, reply: error.reply, cause: error },
    );
  }
}
