/*
 * What has been found out about a server by talking to it: one value for each account, shared by all its connections
 * and kept in the ledger between runs; nothing in it is configured. It starts from the most capable guess and is
 * corrected when the server says otherwise. What was learned holds for a month at most, and no longer than the
 * server lists the same features: then everything is found out anew. Here is what is asked of every server; what only
 * one protocol knows is in ftp/profile.ts and sftp/profile.ts.
 */
import type { TemporaryForm } from '../plan/temporary.js';
import type { Difference } from './remote.js';

/** Something about a name that servers are known to alter or refuse; names.ts has the list. */
export type Oddity =
  | 'a leading space'
  | 'a trailing space'
  | 'a trailing dot'
  | 'a control character'
  | 'a backslash'
  | 'one of : * ? " < > |'
  | 'a character outside ASCII'
  | 'the byte 0xFF';

/** What is known of a server whatever it speaks. All fields are plain data, so that a profile can be stored. */
export interface Facts {
  /** What the server lists, one feature a string, sorted; undefined before the first session. */
  features: readonly string[] | undefined;
  /** What temporary names have to look like. */
  temporary: TemporaryForm;
  /** What became of odd names that were tried. */
  names: Readonly<Partial<Record<Oddity, 'kept' | 'altered'>>>;
  /** Whether names that differ only in this way were two files when that was tried, or met in one. */
  apart: Readonly<Partial<Record<Difference, 'kept' | 'met'>>>;
  /** How many connections the server let in when it last refused one, and when that was known (ms since 1970). */
  connections: { readonly count: number; readonly atMs: number } | undefined;
}

/** Before anything is known. */
export const FIRST_FACTS: Facts = {
  features: undefined,
  temporary: 'hidden',
  names: {},
  apart: {},
  connections: undefined,
};

/** Where profiles are kept between runs. */
export interface ProfileStore {
  /** What `save` was given last. */
  load(): string | undefined;
  save(json: string): void;
}

export interface ProfileOptions {
  readonly store: ProfileStore | undefined;
  /** Hears one sentence for each fact that is corrected. */
  readonly onLearned: (sentence: string) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Of this form of the facts; another one is not read. */
const FORM = 1;
const HOLDS_MS = 30 * 24 * 3_600_000;

export class Profile<F extends Facts = Facts> {
  #facts: F;
  /** When the first of these facts was found out. */
  #sinceMs: number;
  readonly #firstGuess: F;
  readonly #options: ProfileOptions;

  /** @param firstGuess what is believed of a server that was never asked */
  constructor(firstGuess: F, options: ProfileOptions) {
    this.#firstGuess = firstGuess;
    this.#options = options;
    const stored = readStored<F>(options.store?.load(), options.now());
    this.#facts = { ...firstGuess, ...stored?.facts };
    this.#sinceMs = stored?.sinceMs ?? options.now();
  }

  get facts(): Readonly<F> {
    return this.#facts;
  }

  /** Corrects one fact, and says so once. */
  learn<K extends keyof F>(key: K, value: F[K], sentence: string): void {
    if (this.#facts[key] === value) return;
    this.note(key, value);
    this.#options.onLearned(sentence);
  }

  /** Takes a fact down that is nothing to tell a person. */
  note<K extends keyof F>(key: K, value: F[K]): void {
    if (this.#facts[key] === value) return;
    this.#facts = { ...this.#facts, [key]: value };
    this.#save();
  }

  /**
   * A new session has told the server's features. Where they are not the remembered ones, it is another server
   * by now, and nothing else that is remembered can be relied on.
   */
  begin(features: readonly string[]): void {
    const { features: known } = this.#facts;
    if (known !== undefined && known.join('\n') === features.join('\n')) return;
    if (known === undefined) {
      this.note('features', features);
      return;
    }
    this.#sinceMs = this.#options.now();
    this.#facts = { ...this.#firstGuess, features };
    this.#save();
    this.#options.onLearned(
      'the server lists other features than before: what was known of it is found out anew.',
    );
  }

  #save(): void {
    const stored: Stored<F> = { form: FORM, sinceMs: this.#sinceMs, facts: this.#facts };
    this.#options.store?.save(JSON.stringify(stored));
  }
}

interface Stored<F> {
  readonly form: number;
  readonly sinceMs: number;
  /** As far as they were known when it was stored. */
  readonly facts: Partial<F>;
}

/** A profile that is too old, of another form, or not readable, is no profile: the server is asked again. */
function readStored<F>(json: string | undefined, nowMs: number): Stored<F> | undefined {
  if (json === undefined) return undefined;
  let stored: Partial<Stored<F>>;
  try {
    stored = JSON.parse(json) as Partial<Stored<F>>;
  } catch {
    return undefined;
  }
  const { form, sinceMs, facts } = stored ?? {};
  if (form !== FORM || typeof sinceMs !== 'number' || typeof facts !== 'object' || facts === null)
    return undefined;
  const ageMs = nowMs - sinceMs;
  // A clock that was set back is no reason to keep it for ever.
  return ageMs < 0 || ageMs > HOLDS_MS ? undefined : { form, sinceMs, facts };
}
