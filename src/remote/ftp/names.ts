/*
 * Odd names over FTP: the trials of ../names.ts carried out with FTP's verbs, and the one oddity that is only FTP's: a
 * server that reads Telnet commands (RFC 854) in names takes the byte 0xFF for the beginning of one, unless it is sent
 * twice. A connection sends it in one way only, so what is found out takes another connection to be of use.
 */
import type { Charset } from '../../ftp/client.js';
import { FtpError } from '../../ftp/errors.js';
import type { RelativePath } from '../../plan/entry.js';
import { type Ground, Names, type Sighting } from '../names.js';
import type { Delivery, Difference, Trials } from '../remote.js';
import type { FtpProfile } from './profile.js';
import type { FtpSession } from './session.js';

export interface FtpNamesOptions {
  readonly profile: FtpProfile;
  readonly charset: Charset;
  readonly trials: Trials | undefined;
  /** The server path of a name in the root. */
  readonly below: (session: FtpSession, name: string) => string;
}

export class FtpNames {
  readonly #options: FtpNamesOptions;
  readonly #names: Names;
  /** Whether names were sent with the byte 0xFF doubled because of a file that was refused. */
  #suspectsTelnet = false;

  constructor(options: FtpNamesOptions) {
    this.#options = options;
    this.#names = new Names(options);
  }

  /** True where a path has something of which it is not known that the server keeps it. */
  areOdd(path: RelativePath): boolean {
    return this.#names.areOdd(path);
  }

  /**
   * Makes sure that the server keeps a path as it is written.
   *
   * @throws {NameNotKept} where it does not
   */
  async prove(path: RelativePath, session: FtpSession): Promise<void> {
    await this.#names.prove(path, this.#ground(session));
  }

  /** A file was stored under a temporary name of the form in use. */
  temporaryTaken(): void {
    this.#names.temporaryTaken();
  }

  /** As `Names` has it. @throws {TemporaryRefused} where names of another form are to be used from now on */
  async temporaryRefused(delivery: Delivery, session: FtpSession, temporary: string): Promise<void> {
    await this.#names.temporaryRefused(delivery, this.#ground(session), temporary);
  }

  /**
   * Whether two names that differ only in this way are two files there.
   *
   * @param use lends a session, where one is needed
   */
  async keepsApart(
    difference: Difference,
    use: (trial: (session: FtpSession) => Promise<boolean>) => Promise<boolean>,
  ): Promise<boolean> {
    return this.#names.keepsApart(difference, (trial) => use((session) => trial(this.#ground(session))));
  }

  /**
   * The server refused a file that it has listed: because it reads the byte 0xFF in the name as a Telnet command?
   *
   * @throws {FtpError} `lost` where that may be so: another session asks in another way
   */
  misread(path: string, session: FtpSession): void {
    const { profile } = this.#options;
    if (!this.#isOpen(path)) return;
    if (!this.#suspectsTelnet) {
      this.#suspectsTelnet = true;
      this.#doubleTelnetBytes(session);
    } else if (profile.facts.telnetBytes === 'doubled' && !session.outdated) {
      this.#clearTelnet(session);
    }
    unlessOutdated(session);
  }

  /** A file was fetched by its listed name: this session sends names as the server reads them. */
  readRightly(path: string, session: FtpSession): void {
    const { profile } = this.#options;
    if (!this.#isOpen(path)) return;
    if (session.outdated) this.#clearTelnet(session);
    profile.note('names', { ...profile.facts.names, 'the byte 0xFF': 'kept' });
  }

  #clearTelnet(session: FtpSession): void {
    const sentence = `${session.where} does not read Telnet commands in names after all.`;
    this.#options.profile.learn('telnetBytes', 'once', sentence);
  }

  /** A name with the byte 0xFF, of which it is not known yet how this server reads it. */
  #isOpen(path: string): boolean {
    const { profile, charset } = this.#options;
    const known = profile.facts.names['the byte 0xFF'] !== undefined;
    return !known && charset.encode(path)?.includes(0xff) === true;
  }

  #doubleTelnetBytes(session: FtpSession): void {
    const { profile } = this.#options;
    if (profile.facts.telnetBytes === 'once') {
      const sentence = `${session.where} reads Telnet commands in names: the byte 0xFF is sent twice.`;
      profile.learn('telnetBytes', 'doubled', sentence);
    }
    unlessOutdated(session);
  }

  #ground(session: FtpSession): Ground {
    const { tree, uploads, where } = session;
    return {
      where,
      get usable() {
        return session.usable;
      },
      below: (name) => this.#options.below(session, name),
      store: (path) => uploads.store(path, nothing(), undefined),
      list: async (directory) => {
        const { entries, unusable } = await tree.list(directory);
        return [...entries.map(sighted), ...unusable.map(({ bytes }) => unnamed(bytes))];
      },
      remove: (path) => tree.remove(path),
      makeDirectory: (path) => tree.makeDirectory(path),
      removeDirectory: (path) => tree.removeDirectory(path),
      isDirectory: (path) => tree.isDirectory(path),
      unlessOutdated: () => unlessOutdated(session),
      onAltered: (oddity) => {
        if (oddity === 'the byte 0xFF') this.#doubleTelnetBytes(session);
      },
    };
  }
}

/** It takes another session to send names in the way that was found out since; that one makes the trial again. */
function unlessOutdated(session: FtpSession): void {
  if (!session.outdated) return;
  session.reset();
  throw new FtpError('lost', `${session.where} misread a name, and is asked again in another way.`, {
    phase: 'command',
  });
}

function sighted({
  name,
  bytes,
  type,
}: {
  readonly name: string;
  readonly bytes: Buffer;
  readonly type: string;
}): Sighting {
  return { name, bytes, type: type === 'file' ? 'file' : 'other' };
}

function unnamed(bytes: Buffer): Sighting {
  return { name: undefined, bytes, type: 'other' };
}

async function* nothing(): AsyncGenerator<Buffer> {}
