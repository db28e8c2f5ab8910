/*
 * What earlier runs left on the remote of files that are unchanged since: parts, or all of a file, under temporary
 * names. Kept here until the scan comes by the file again and its upload goes on from there; what no upload has asked
 * for at the end of the run is cleared away. Whether a part is right is not known here; the remote proves it.
 */
import type { PlannedIntent } from '../ledger/record.js';
import { type LocalFile, type RelativePath, sameFingerprint } from '../plan/entry.js';
import { judge } from '../remote/failure.js';
import type { Voyage } from './context.js';

/** An intent whose temporary name holds something. */
export type LeftPart = PlannedIntent & { readonly there: RelativePath; readonly sizeBytes: number };

export class Parts {
  readonly #voyage: Voyage;
  readonly #parts = new Map<RelativePath, LeftPart>();

  constructor(voyage: Voyage) {
    this.#voyage = voyage;
  }

  /** Of two parts of one file the larger is of more use; the other one goes. */
  async keep(part: LeftPart): Promise<void> {
    const other = this.#parts.get(part.path);
    const [kept, given] =
      other !== undefined && other.sizeBytes > part.sizeBytes ? [other, part] : [part, other];
    this.#parts.set(part.path, kept);
    if (given !== undefined) await this.#remove(given);
  }

  /** The temporary name of what is left of this very file, which is the caller's from now on. */
  take(path: RelativePath, file: LocalFile): RelativePath | undefined {
    const part = this.#parts.get(path);
    if (part === undefined || !sameFingerprint(part.local, file)) return undefined;
    this.#parts.delete(path);
    return part.temporary;
  }

  /** Removes what nobody took. What cannot be removed now stays an open intent, with which the next run begins. */
  async clear(): Promise<void> {
    const { stop, cut } = this.#voyage.context;
    for (const part of this.#parts.values()) {
      if (stop?.aborted === true || cut?.aborted === true) return;
      await this.#remove(part).catch(() => {});
    }
    this.#parts.clear();
  }

  async #remove({ path, there, temporary }: LeftPart): Promise<void> {
    const { remote, binding, context, job, run } = this.#voyage;
    // Where the server cannot rename, it may be the version before, whole.
    if (temporary !== there) {
      try {
        await remote.remove(temporary);
      } catch (error) {
        if (judge(error).decision !== 'skip') throw error;
        // Refused for good: asked again in every run, it would be refused in every run.
        const message = `what is left of it on the server, ${temporary}, may not be removed there: have it removed by hand`;
        context.listener({ event: 'run.recovered', job: job.name, run, path, message });
      }
    }
    context.ledger.record({ kind: 'intent-dropped', bindingId: binding, path, temporary });
  }
}
