/*
 * What a server makes of odd names. Some answer 226 and store the file under another name (Pure-FTPd turns spaces at
 * the ends into `_`, Windows drops dots there), so that two files meet in one; so an odd name is proven before it is
 * used: a file with the same oddity is stored in a directory of its own, listed, and taken away again. Once for each
 * oddity; the answer is remembered for the server.
 *
 * Also finds out whether temporary names may begin with a dot, and whether names that look alike are two files. Does
 * not rename anything: a name that the server cannot keep is an error.
 */
import { randomBytes } from 'node:crypto';
import type { Charset } from '../../ftp/client.js';
import { FtpError } from '../../ftp/errors.js';
import type { RelativePath } from '../../plan/entry.js';
import { temporaryName } from '../../plan/temporary.js';
import { judge } from '../failure.js';
import type { Oddity, Profile } from '../profile.js';
import { type Delivery, type Difference, TemporaryRefused, type Trials } from '../remote.js';
import { isRefusal } from './refusal.js';
import type { FtpSession } from './session.js';

/** How each oddity is recognised, and what of a name shows it in a trial. */
const ODDITIES: readonly (readonly [Oddity, (name: string) => string | undefined])[] = [
  ['a leading space', (name) => (name.startsWith(' ') ? ' x' : undefined)],
  ['a trailing space', (name) => (name.endsWith(' ') ? 'x ' : undefined)],
  ['a trailing dot', (name) => (name.endsWith('.') ? 'x.' : undefined)],
  ['a control character', (name) => within(/\p{Cc}/u.exec(name)?.[0])],
  ['a backslash', (name) => within(/\\/.exec(name)?.[0])],
  ['one of : * ? " < > |', (name) => within(/[:*?"<>|]/.exec(name)?.[0])],
  ['a character outside ASCII', (name) => within(/[^\0-\x7f]/u.exec(name)?.[0])],
];

/** Two names that differ in nothing else. */
const ALIKE: Readonly<Record<Difference, readonly [string, string]>> = {
  case: ['ferryd-a', 'FERRYD-A'],
  form: ['ferryd-\u00e9', 'ferryd-e\u0301'],
};

/** Characters that are no line end and no directory, and not of the last kind: hardly any path has one. */
const MAY_BE_ODD = /[^!#-)+-.0-9;=@-[\]^-{}~/]|^ | $|\.$| \/|\.\/|\/ /u;

export interface NamesOptions {
  readonly profile: Profile;
  readonly charset: Charset;
  readonly trials: Trials | undefined;
  /** The server path of a name in the root. */
  readonly below: (session: FtpSession, name: string) => string;
}

export class Names {
  readonly #options: NamesOptions;
  /** Trials under way: other connections wait for them. */
  readonly #trials = new Map<Oddity, Promise<void>>();
  readonly #comparisons = new Map<Difference, Promise<boolean>>();
  /** The account may make no directory for a trial: names are taken as they come. */
  #untried = false;
  /** Whether names were sent with the byte 0xFF doubled because of a file that was refused. */
  #suspectsTelnet = false;
  /** Directories of trials that broke off and may have left something, and what was stored in them. */
  readonly #litter = new Map<string, RelativePath>();
  /** Whether a refusal may be about the temporary name: not once one was taken, nor once the other form was refused too. */
  #temporaryInDoubt = true;
  #temporaryTrial: Promise<void> | undefined;

  constructor(options: NamesOptions) {
    this.#options = options;
  }

  /** True where a path has something of which it is not known that the server keeps it. */
  areOdd(path: RelativePath): boolean {
    return !this.#untried && MAY_BE_ODD.test(path) && this.#unproven(path).size > 0;
  }

  /**
   * Makes sure that the server keeps a path as it is written.
   *
   * @throws {FtpError} `argument` where it does not
   */
  async prove(path: RelativePath, session: FtpSession): Promise<void> {
    const { profile } = this.#options;
    for (const [oddity, sample] of this.#unproven(path)) {
      this.#unlessOutdated(session);
      if (profile.facts.names[oddity] === undefined && !this.#untried) {
        await this.#once(oddity, sample, session);
      }
      if (profile.facts.names[oddity] === 'altered') {
        throw new FtpError(
          'argument',
          `${session.where} does not keep ${oddity} in a name: ${path} would come to stand under another name there. Rename it, or exclude it.`,
          { phase: 'command' },
        );
      }
    }
    this.#unlessOutdated(session);
  }

  /** A file was stored under a temporary name of the form in use. */
  temporaryTaken(): void {
    this.#temporaryInDoubt = false;
  }

  /**
   * The server refused to store under a temporary name: because of the name? It is, where it takes an empty file under
   * a plain name and refuses one under a hidden name.
   *
   * @throws {TemporaryRefused} where names of another form are to be used from now on
   */
  async temporaryRefused(delivery: Delivery, session: FtpSession, temporary: string): Promise<void> {
    const { profile } = this.#options;
    if (!isHidden(delivery.temporary)) return;
    if (profile.facts.temporary === 'hidden' && this.#temporaryInDoubt) {
      this.#temporaryTrial ??= this.#tryTemporary(delivery, session, temporary).finally(() => {
        this.#temporaryTrial = undefined;
      });
      await this.#temporaryTrial;
    }
    // Also deliveries that were named before this was known.
    if (profile.facts.temporary !== 'hidden')
      throw new TemporaryRefused(`${session.where} refuses the temporary name of ${delivery.path}.`);
  }

  async #tryTemporary(delivery: Delivery, session: FtpSession, temporary: string): Promise<void> {
    const takes = async (form: 'plain' | 'hidden'): Promise<boolean> => {
      const name = temporaryName(nameOf(delivery.path), token(), form);
      const path = `${aboveOf(delivery.temporary)}${name}`;
      this.#options.trials?.begin(path);
      const taken = await this.#takes(`${aboveOf(temporary)}${name}`, session);
      this.#options.trials?.end(path);
      return taken;
    };
    const plain = await takes('plain');
    const hidden = plain && (await takes('hidden'));
    this.#temporaryInDoubt = false;
    if (!plain || hidden) return;
    this.#options.profile.learn(
      'temporary',
      'plain',
      `${session.where} refuses names that begin with a dot or end with .part: temporary files have other names there.`,
    );
  }

  /** Whether an empty file can be stored there; it is taken away again, unless it is to be left. */
  async #takes(path: string, session: FtpSession, then: 'removed' | 'left' = 'removed'): Promise<boolean> {
    try {
      await session.uploads.store(path, nothing(), undefined);
    } catch (error) {
      if (error instanceof FtpError && error.kind === 'reply') return false;
      throw error;
    }
    if (then === 'removed') await session.tree.remove(path);
    return true;
  }

  #unproven(path: RelativePath): Map<Oddity, string> {
    const { names } = this.#options.profile.facts;
    const found = new Map<Oddity, string>();
    for (const name of path.split('/')) {
      for (const [oddity, sampleOf] of ODDITIES) {
        const sample = sampleOf(name);
        if (sample !== undefined && names[oddity] !== 'kept') found.set(oddity, sample);
      }
      if (names['the byte 0xFF'] !== 'kept' && this.#options.charset.encode(name)?.includes(0xff) === true) {
        // Twice, because Telnet (RFC 854) makes one of two; a single one is left alone by some that do.
        found.set('the byte 0xFF', within(this.#options.charset.decode(Buffer.from([0xff, 0xff]))) ?? name);
      }
    }
    return found;
  }

  async #once(oddity: Oddity, sample: string, session: FtpSession): Promise<void> {
    // Where the other trial fails, one of those who waited for it makes it again.
    for (let running = this.#trials.get(oddity); running !== undefined; running = this.#trials.get(oddity))
      await running.catch(() => {});
    if (this.#options.profile.facts.names[oddity] !== undefined || this.#untried) return;
    this.#unlessOutdated(session);
    const trial = this.#try(oddity, sample, session);
    this.#trials.set(oddity, trial);
    try {
      await trial;
    } finally {
      this.#trials.delete(oddity);
    }
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
    const known = this.#options.profile.facts.apart[difference];
    if (known !== undefined) return known === 'kept';
    const comparison =
      this.#comparisons.get(difference) ??
      use((session) => this.#compare(difference, session)).finally(() =>
        this.#comparisons.delete(difference),
      );
    this.#comparisons.set(difference, comparison);
    return comparison;
  }

  async #compare(difference: Difference, session: FtpSession): Promise<boolean> {
    const { profile, charset } = this.#options;
    const names = ALIKE[difference];
    // What this charset cannot write never gets there to meet anything.
    if (this.#untried || names.some((name) => charset.encode(name) === undefined)) return false;
    let apart: boolean | undefined;
    try {
      apart = await this.#inTrial(session, names[0], (directory) =>
        this.#bothStand(directory, names, session),
      );
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
    if (apart === undefined) return false;
    profile.note('apart', { ...profile.facts.apart, [difference]: apart ? 'kept' : 'met' });
    return apart;
  }

  async #bothStand(
    directory: string,
    names: readonly string[],
    session: FtpSession,
  ): Promise<boolean | undefined> {
    const paths = names.map((name) => `${directory}/${name}`);
    try {
      for (const path of paths) if (!(await this.#takes(path, session, 'left'))) return undefined;
      const { entries, unusable } = await session.tree.list(directory);
      return names.every((name) => {
        const wanted = this.#options.charset.encode(name);
        return [...entries, ...unusable].some(({ bytes }) => wanted?.equals(bytes) === true);
      });
    } finally {
      // Under either name it is found, whichever of the two it has there.
      if (session.usable) for (const path of paths) await session.tree.remove(path);
    }
  }

  async #try(oddity: Oddity, sample: string, session: FtpSession): Promise<void> {
    const { profile } = this.#options;
    const kept = await this.#inTrial(session, sample, (directory) =>
      this.#keeps(`${directory}/${sample}`, sample, session),
    );
    if (kept === undefined) return;
    if (!kept && oddity === 'the byte 0xFF') this.#doubleTelnetBytes(session);
    profile.note('names', { ...profile.facts.names, [oddity]: kept ? 'kept' : 'altered' });
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
    this.#unlessOutdated(session);
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
    this.#unlessOutdated(session);
  }

  /** It takes another session to send names in the way that was found out since; that one makes the trial again. */
  #unlessOutdated(session: FtpSession): void {
    if (!session.outdated) return;
    session.reset();
    throw new FtpError('lost', `${session.where} misread a name, and is asked again in another way.`, {
      phase: 'command',
    });
  }

  /**
   * A trial in a directory of its own, which is taken away again.
   *
   * @param sample the name of the first file that is stored there
   * @returns undefined where no such directory can be made
   */
  async #inTrial<T>(
    session: FtpSession,
    sample: string,
    trial: (directory: string) => Promise<T>,
  ): Promise<T | undefined> {
    await this.#tidy(session);
    const { trials, below } = this.#options;
    const name = temporaryName('', token(), 'plain');
    const path = `${name}/${sample}`;
    const directory = below(session, name);
    trials?.begin(path);
    try {
      if (!(await this.#made(directory, session))) {
        this.#untried = true;
        trials?.end(path);
        return undefined;
      }
      try {
        return await trial(directory);
      } finally {
        if (session.usable) {
          await this.#clear(directory, session);
          trials?.end(path);
        }
      }
    } catch (error) {
      this.#litter.set(directory, path);
      throw error;
    }
  }

  /** What trials left behind whose connection was lost. */
  async #tidy(session: FtpSession): Promise<void> {
    for (const [directory, path] of this.#litter) {
      this.#litter.delete(directory);
      try {
        if (await session.tree.isDirectory(directory)) {
          const { entries } = await session.tree.list(directory);
          for (const { name, type } of entries)
            if (type === 'file') await session.tree.remove(`${directory}/${name}`);
          await this.#clear(directory, session);
        }
      } catch (error) {
        if (!isRefusal(error)) {
          this.#litter.set(directory, path);
          throw error;
        }
      }
      this.#options.trials?.end(path);
    }
  }

  /** One that cannot be removed stays: that is no reason not to send a file. */
  async #clear(directory: string, session: FtpSession): Promise<void> {
    try {
      await session.tree.removeDirectory(directory);
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
  }

  async #made(directory: string, session: FtpSession): Promise<boolean> {
    try {
      await session.tree.makeDirectory(directory);
      return true;
    } catch (error) {
      if (judge(error).decision !== 'skip') throw error;
      return false;
    }
  }

  async #keeps(path: string, sample: string, session: FtpSession): Promise<boolean> {
    try {
      await session.uploads.store(path, nothing(), undefined);
    } catch (error) {
      if (error instanceof FtpError && judge(error).decision === 'skip') return false;
      throw error;
    }
    const { entries, unusable } = await session.tree.list(path.slice(0, path.lastIndexOf('/')));
    const wanted = this.#options.charset.encode(sample);
    const seen = [...entries, ...unusable].some(({ bytes }) => wanted?.equals(bytes) === true);
    if (seen) await session.tree.remove(path);
    // Under whatever name it stands there.
    else
      for (const { name, type } of entries)
        if (type === 'file') await session.tree.remove(`${path.slice(0, path.lastIndexOf('/'))}/${name}`);
    return seen;
  }
}

function isHidden(temporary: RelativePath): boolean {
  return nameOf(temporary).startsWith('.ferryd-');
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** With the slash at its end, or nothing. */
function aboveOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/') + 1);
}

function within(character: string | undefined): string | undefined {
  return character === undefined ? undefined : `x${character}x`;
}

function token(): string {
  return randomBytes(8).toString('hex');
}

async function* nothing(): AsyncGenerator<Buffer> {}
