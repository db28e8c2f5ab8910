/*
 * What has been found out about a server by talking to it: one value for each account, shared by all its connections
 * and kept in the ledger between runs; nothing in it is configured. It starts from the most capable guess and is
 * corrected when the server says otherwise. What was learned holds for a month at most, and no longer than the
 * server lists the same features: then everything is found out anew.
 */
import type { DataMode, HashForm, SetTimeForm } from '../ftp/client.js';
import type { TemporaryForm } from '../plan/temporary.js';
import type { Difference } from './remote.js';

/** Something about a name that servers are known to alter or refuse; ftp/names.ts has the list. */
export type Oddity =
  | 'a leading space'
  | 'a trailing space'
  | 'a trailing dot'
  | 'a control character'
  | 'a backslash'
  | 'one of : * ? " < > |'
  | 'a character outside ASCII'
  | 'the byte 0xFF';

/** All fields are plain data, so that a profile can be stored. */
export interface Facts {
  /** What the server lists (FEAT), one feature a string, sorted; undefined before the first session. */
  features: readonly string[] | undefined;
  /** Who opens data connections, and how that is agreed on. */
  dataMode: DataMode;
  /** Whether a transfer has gone through in that mode. */
  dataModeWorks: boolean;
  /** The newest TLS with which data connections are taken. */
  tls: 'TLSv1.3' | 'TLSv1.2';
  /** How modification times are set; `none` where the server knows no way. */
  setTime: SetTimeForm | 'none';
  /** How permissions are set; `none` where the server refuses that. */
  chmod: 'SITE CHMOD' | 'none';
  /** How a file's size is asked for. */
  size: 'SIZE' | 'listing';
  /** How a file's hash is asked for; undefined before the first session. */
  hash: HashForm | 'none' | undefined;
  /** How directories are listed. */
  listing: 'MLSD' | 'LIST';
  /** Whether RNTO replaces a file that exists; `none` where the server cannot rename at all. */
  rename: 'overwrites' | 'refuses' | 'none';
  /** How an upload that broke off goes on. */
  resumeUpload: 'REST' | 'APPE' | 'none';
  /** How a download that broke off goes on. */
  resumeDownload: 'REST' | 'none';
  /**
   * How many round trips a small file takes: `two` where the server finds the question for the next port in its
   * buffer when a transfer has ended, `three` where that puts it out of step.
   */
  roundTrips: 'two' | 'three';
  /** What temporary names have to look like. */
  temporary: TemporaryForm;
  /** Whether the byte 0xFF in names has to be sent twice. */
  telnetBytes: 'once' | 'doubled';
  /** What became of odd names that were tried. */
  names: Readonly<Partial<Record<Oddity, 'kept' | 'altered'>>>;
  /** Whether names that differ only in this way were two files when that was tried, or met in one. */
  apart: Readonly<Partial<Record<Difference, 'kept' | 'met'>>>;
  /** How many connections the server let in when it last refused one, and when that was known (ms since 1970). */
  connections: { readonly count: number; readonly atMs: number } | undefined;
  /** How far the server's clock is ahead of this machine's, in milliseconds. */
  clockOffsetMs: number | undefined;
}

const FIRST_GUESS: Facts = {
  features: undefined,
  dataMode: 'EPSV',
  dataModeWorks: false,
  tls: 'TLSv1.3',
  setTime: 'MFMT',
  chmod: 'SITE CHMOD',
  size: 'SIZE',
  hash: undefined,
  listing: 'MLSD',
  rename: 'overwrites',
  resumeUpload: 'REST',
  resumeDownload: 'REST',
  roundTrips: 'two',
  temporary: 'hidden',
  telnetBytes: 'once',
  names: {},
  apart: {},
  connections: undefined,
  clockOffsetMs: undefined,
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

/** Of this form of `Facts`; another one is not read. */
const FORM = 1;
const HOLDS_MS = 30 * 24 * 3_600_000;

export class Profile {
  #facts: Facts;
  /** When the first of these facts was found out. */
  #sinceMs: number;
  readonly #options: ProfileOptions;
  /** Troubles in a row that may be the server's way or an accident; a success ends each row. */
  readonly streaks = { stumbles: 0, dataSetups: 0, reuseRefusals: 0 };
  /** Whether the server let us in with TLS 1.2 when that was tried; nothing to keep, since a handshake can fail by accident. */
  tls12: 'untried' | 'refused' = 'untried';
  /** The server's clock is read once in this process at the most, with the first upload. */
  clock: 'unread' | 'asked' = 'unread';

  constructor(options: ProfileOptions) {
    this.#options = options;
    const stored = readStored(options.store?.load(), options.now());
    this.#facts = { ...FIRST_GUESS, ...stored?.facts };
    this.#sinceMs = stored?.sinceMs ?? options.now();
  }

  get facts(): Readonly<Facts> {
    return this.#facts;
  }

  /** Corrects one fact, and says so once. */
  learn<K extends keyof Facts>(key: K, value: Facts[K], sentence: string): void {
    if (this.#facts[key] === value) return;
    this.note(key, value);
    this.#options.onLearned(sentence);
  }

  /** Takes a fact down that is nothing to tell a person. */
  note<K extends keyof Facts>(key: K, value: Facts[K]): void {
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
    this.#facts = { ...FIRST_GUESS, features };
    this.#save();
    this.#options.onLearned(
      'the server lists other features than before: what was known of it is found out anew.',
    );
  }

  #save(): void {
    const stored: Stored = { form: FORM, sinceMs: this.#sinceMs, facts: this.#facts };
    this.#options.store?.save(JSON.stringify(stored));
  }
}

interface Stored {
  readonly form: number;
  readonly sinceMs: number;
  readonly facts: Facts;
}

/** A profile that is too old, of another form, or not readable, is no profile: the server is asked again. */
function readStored(json: string | undefined, nowMs: number): Stored | undefined {
  if (json === undefined) return undefined;
  let stored: Partial<Stored>;
  try {
    stored = JSON.parse(json) as Partial<Stored>;
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
