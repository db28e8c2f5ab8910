/*
 * Where a path stands on both sides: mostly under its own name, else below a directory named after its time, or with
 * a name that is written another way because the server could not hold it. What was delivered stays where it is.
 */
import type { Job } from '../job/job.js';
import { type FilePrefix, prefixOf } from '../job/template.js';
import type { Places } from '../plan/action.js';
import type { RelativePath } from '../plan/entry.js';
import type { PlaceOf } from '../plan/judge.js';
import { apartName, decodePath, encodePath, fitsAName } from '../plan/names.js';

export class Placement {
  readonly #job: Pick<Job, 'direction' | 'mode' | 'names' | 'timezone'>;
  readonly #prefix: FilePrefix | undefined;

  constructor(job: Pick<Job, 'direction' | 'mode' | 'names' | 'timezone'>, prefix: FilePrefix | undefined) {
    this.#job = job;
    this.#prefix = prefix;
  }

  /** True where a file cannot be placed without its time. */
  get needsTimes(): boolean {
    return this.#prefix !== undefined;
  }

  readonly place = (path: RelativePath, { baseline, modifiedMs, there }: PlaceOf): Places => {
    const prefix =
      this.#prefix === undefined || modifiedMs === undefined
        ? ''
        : `${prefixOf(this.#prefix, modifiedMs, this.#job.timezone)}/`;
    if (this.#targetIsLocal) {
      const here = prefix === '' ? (baseline?.target ?? path) : prefix + path;
      return { here, there: there ?? this.#written(path) };
    }
    // With {mtime} another time is another place.
    const known = this.#prefix === undefined || modifiedMs === undefined ? baseline?.target : undefined;
    return { here: path, there: there ?? known ?? prefix + this.#written(path) };
  };

  /** What the ledger has to remember of two places: the one that is not the path itself. */
  targetOf(path: RelativePath, { here, there }: Places): RelativePath | undefined {
    const target = this.#targetIsLocal ? here : there;
    return target === path ? undefined : target;
  }

  /** The path of something that the remote lists, as it is called here. */
  readonly pathOf = (there: RelativePath): RelativePath =>
    this.#job.names === 'encode' ? decodePath(there) : there;

  /** Where a file goes whose own name another one would take on the server. */
  apart(path: RelativePath): RelativePath {
    return path.split('/').map(apartName).join('/');
  }

  /** A name on the way that no server could hold, or undefined. */
  unfitName(there: RelativePath): string | undefined {
    return there.split('/').find((name) => name !== '' && !fitsAName(name));
  }

  get #targetIsLocal(): boolean {
    return this.#job.direction === 'pull' && this.#job.mode !== 'two-way';
  }

  #written(path: RelativePath): RelativePath {
    return this.#job.names === 'encode' ? encodePath(path) : path;
  }
}
