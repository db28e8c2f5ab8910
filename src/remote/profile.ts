/*
 * What has been found out about a server by talking to it. One value for each account, shared by all its
 * connections; nothing in it is configured. It starts from the most capable guess and is corrected when the
 * server says otherwise.
 */
import type { PassiveForm, SetTimeForm } from '../ftp/client.js';

/** All fields are plain data, so that a profile can be stored. */
export interface Facts {
  /** How ports for data connections are asked for. */
  passive: PassiveForm;
  /** How modification times are set; `none` where the server knows no way. */
  setTime: SetTimeForm | 'none';
  /** How a file's size is asked for. */
  size: 'SIZE' | 'listing';
  /** How directories are listed. */
  listing: 'MLSD' | 'LIST';
  /** Whether RNTO replaces a file that exists. */
  rename: 'overwrites' | 'refuses';
  /**
   * How many round trips a small file takes: `two` where the server finds the question for the next port in its
   * buffer when a transfer has ended, `three` where that puts it out of step.
   */
  roundTrips: 'two' | 'three';
}

export class Profile {
  readonly facts: Facts = {
    passive: 'EPSV',
    setTime: 'MFMT',
    size: 'SIZE',
    listing: 'MLSD',
    rename: 'overwrites',
    roundTrips: 'two',
  };
  /** Transfers in a row that failed with a command behind their STOR. */
  stumbles = 0;
  readonly #onLearned: (sentence: string) => void;

  /** @param onLearned hears one sentence for each fact that is corrected */
  constructor(onLearned: (sentence: string) => void) {
    this.#onLearned = onLearned;
  }

  /** Corrects one fact, and says so once. */
  learn<K extends keyof Facts>(key: K, value: Facts[K], sentence: string): void {
    if (this.facts[key] === value) return;
    this.facts[key] = value;
    this.#onLearned(sentence);
  }
}
