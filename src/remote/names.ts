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
import type { RelativePath } from '../plan/entry.js';
import { temporaryName } from '../plan/temporary.js';
import { judge } from './failure.js';
import type { Oddity, Profile } from './profile.js';
import { isAnswer, isRefusal } from './refusal.js';
import { type Delivery, type Difference, NameNotKept, TemporaryRefused, type Trials } from './remote.js';

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

/** What a trial asks of one connection. Paths are the server's; errors are thrown as they come. */
export interface Ground {
  /** Host and port, for messages. */
  readonly where: string;
  /** False once the connection is broken or lost. */
  readonly usable: boolean;
  /** The server path of a name in the root. */
  below(name: string): string;
  /** Stores an empty file, over whatever file stands there. */
  store(path: string): Promise<void>;
  /** All that a directory holds, as the server tells it. */
  list(directory: string): Promise<readonly Sighting[]>;
  /** Removes a file. One that is not there is removed already. */
  remove(path: string): Promise<void>;
  makeDirectory(path: string): Promise<void>;
  /** Removes a directory that is empty, or leaves it. */
  removeDirectory(path: string): Promise<unknown>;
  isDirectory(path: string): Promise<boolean>;
  /** Throws where it has been found out since the connection began that it sends names in another way than it should. */
  unlessOutdated?(): void;
  /** Hears of an oddity that was not kept; throws where another connection is to try once more in another way. */
  onAltered?(oddity: Oddity): void;
}

/** An entry of a listing. */
export interface Sighting {
  /** Undefined where the bytes cannot be written as text. */
  readonly name: string | undefined;
  readonly bytes: Buffer;
  readonly type: 'file' | 'other';
}

export interface NamesOptions {
  readonly profile: Profile;
  /** How names are written there. */
  readonly charset: {
    encode(text: string): Buffer | undefined;
    decode(bytes: Buffer): string | undefined;
  };
  readonly trials: Trials | undefined;
}

export class Names {
  readonly #options: NamesOptions;
  /** Trials under way: other connections wait for them. */
  readonly #trials = new Map<Oddity, Promise<void>>();
  readonly #comparisons = new Map<Difference, Promise<boolean>>();
  /** The account may make no directory for a trial: names are taken as they come. */
  #untried = false;
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
   * @throws {NameNotKept} where it does not
   */
  async prove(path: RelativePath, ground: Ground): Promise<void> {
    const { profile } = this.#options;
    for (const [oddity, sample] of this.#unproven(path)) {
      ground.unlessOutdated?.();
      if (profile.facts.names[oddity] === undefined && !this.#untried) {
        await this.#once(oddity, sample, ground);
      }
      if (profile.facts.names[oddity] === 'altered') {
        throw new NameNotKept(
          `${ground.where} does not keep ${oddity} in a name: ${path} would come to stand under another name there. Rename it, or exclude it.`,
        );
      }
    }
    ground.unlessOutdated?.();
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
  async temporaryRefused(delivery: Delivery, ground: Ground, temporary: string): Promise<void> {
    const { profile } = this.#options;
    if (!isHidden(delivery.temporary)) return;
    if (profile.facts.temporary === 'hidden' && this.#temporaryInDoubt) {
      this.#temporaryTrial ??= this.#tryTemporary(delivery, ground, temporary).finally(() => {
        this.#temporaryTrial = undefined;
      });
      await this.#temporaryTrial;
    }
    // Also deliveries that were named before this was known.
    if (profile.facts.temporary !== 'hidden')
      throw new TemporaryRefused(`${ground.where} refuses the temporary name of ${delivery.path}.`);
  }

  async #tryTemporary(delivery: Delivery, ground: Ground, temporary: string): Promise<void> {
    const takes = async (form: 'plain' | 'hidden'): Promise<boolean> => {
      const name = temporaryName(nameOf(delivery.path), token(), form);
      const path = `${aboveOf(delivery.temporary)}${name}`;
      this.#options.trials?.begin(path);
      const taken = await this.#takes(`${aboveOf(temporary)}${name}`, ground);
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
      `${ground.where} refuses names that begin with a dot or end with .part: temporary files have other names there.`,
    );
  }

  /** Whether an empty file can be stored there; it is taken away again, unless it is to be left. */
  async #takes(path: string, ground: Ground, then: 'removed' | 'left' = 'removed'): Promise<boolean> {
    try {
      await ground.store(path);
    } catch (error) {
      if (isAnswer(error)) return false;
      throw error;
    }
    if (then === 'removed') await ground.remove(path);
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

  async #once(oddity: Oddity, sample: string, ground: Ground): Promise<void> {
    // Where the other trial fails, one of those who waited for it makes it again.
    for (let running = this.#trials.get(oddity); running !== undefined; running = this.#trials.get(oddity))
      await running.catch(() => {});
    if (this.#options.profile.facts.names[oddity] !== undefined || this.#untried) return;
    ground.unlessOutdated?.();
    const trial = this.#try(oddity, sample, ground);
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
   * @param use lends a connection, where one is needed
   */
  async keepsApart(
    difference: Difference,
    use: (trial: (ground: Ground) => Promise<boolean>) => Promise<boolean>,
  ): Promise<boolean> {
    const known = this.#options.profile.facts.apart[difference];
    if (known !== undefined) return known === 'kept';
    const comparison =
      this.#comparisons.get(difference) ??
      use((ground) => this.#compare(difference, ground)).finally(() => this.#comparisons.delete(difference));
    this.#comparisons.set(difference, comparison);
    return comparison;
  }

  async #compare(difference: Difference, ground: Ground): Promise<boolean> {
    const { profile, charset } = this.#options;
    const names = ALIKE[difference];
    // What this charset cannot write never gets there to meet anything.
    if (this.#untried || names.some((name) => charset.encode(name) === undefined)) return false;
    let apart: boolean | undefined;
    try {
      apart = await this.#inTrial(ground, names[0], (directory) => this.#bothStand(directory, names, ground));
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
    ground: Ground,
  ): Promise<boolean | undefined> {
    const paths = names.map((name) => `${directory}/${name}`);
    try {
      for (const path of paths) if (!(await this.#takes(path, ground, 'left'))) return undefined;
      const entries = await ground.list(directory);
      return names.every((name) => {
        const wanted = this.#options.charset.encode(name);
        return entries.some(({ bytes }) => wanted?.equals(bytes) === true);
      });
    } finally {
      // Under either name it is found, whichever of the two it has there.
      if (ground.usable) for (const path of paths) await ground.remove(path);
    }
  }

  async #try(oddity: Oddity, sample: string, ground: Ground): Promise<void> {
    const { profile } = this.#options;
    const kept = await this.#inTrial(ground, sample, (directory) =>
      this.#keeps(`${directory}/${sample}`, sample, ground),
    );
    if (kept === undefined) return;
    if (!kept) ground.onAltered?.(oddity);
    profile.note('names', { ...profile.facts.names, [oddity]: kept ? 'kept' : 'altered' });
  }

  /**
   * A trial in a directory of its own, which is taken away again.
   *
   * @param sample the name of the first file that is stored there
   * @returns undefined where no such directory can be made
   */
  async #inTrial<T>(
    ground: Ground,
    sample: string,
    trial: (directory: string) => Promise<T>,
  ): Promise<T | undefined> {
    await this.#tidy(ground);
    const { trials } = this.#options;
    const name = temporaryName('', token(), 'plain');
    const path = `${name}/${sample}`;
    const directory = ground.below(name);
    trials?.begin(path);
    try {
      if (!(await this.#made(directory, ground))) {
        this.#untried = true;
        trials?.end(path);
        return undefined;
      }
      try {
        return await trial(directory);
      } finally {
        if (ground.usable) {
          await this.#clear(directory, ground);
          trials?.end(path);
        }
      }
    } catch (error) {
      this.#litter.set(directory, path);
      throw error;
    }
  }

  /** What trials left behind whose connection was lost. */
  async #tidy(ground: Ground): Promise<void> {
    for (const [directory, path] of this.#litter) {
      this.#litter.delete(directory);
      try {
        if (await ground.isDirectory(directory)) {
          const entries = await ground.list(directory);
          for (const { name, type } of entries)
            if (type === 'file' && name !== undefined) await ground.remove(`${directory}/${name}`);
          await this.#clear(directory, ground);
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
  async #clear(directory: string, ground: Ground): Promise<void> {
    try {
      await ground.removeDirectory(directory);
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
  }

  async #made(directory: string, ground: Ground): Promise<boolean> {
    try {
      await ground.makeDirectory(directory);
      return true;
    } catch (error) {
      if (judge(error).decision !== 'skip') throw error;
      return false;
    }
  }

  async #keeps(path: string, sample: string, ground: Ground): Promise<boolean> {
    try {
      await ground.store(path);
    } catch (error) {
      if (judge(error).decision === 'skip') return false;
      throw error;
    }
    const entries = await ground.list(path.slice(0, path.lastIndexOf('/')));
    const wanted = this.#options.charset.encode(sample);
    const seen = entries.some(({ bytes }) => wanted?.equals(bytes) === true);
    if (seen) await ground.remove(path);
    // Under whatever name it stands there.
    else
      for (const { name, type } of entries)
        if (type === 'file' && name !== undefined)
          await ground.remove(`${path.slice(0, path.lastIndexOf('/'))}/${name}`);
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
