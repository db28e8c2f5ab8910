/*
 * Where content decides: a file that was only touched, two files that may be one, and whatever a job with
 * `compare: checksum` wants to be sure of. Reads what is here, asks the remote for a digest of what is there, and goes
 * on with the verdict that the planner has for the answer.
 */

import { settledFingerprint } from '../local/fingerprint.js';
import { LocalSource } from '../local/source.js';
import type { Content, Meet, Verdict } from '../plan/action.js';
import type { Digest } from '../plan/digest.js';
import { contentless, type Fingerprint, isLink, type LocalFile, sameFingerprint } from '../plan/entry.js';
import { leadsToOf } from '../plan/judge.js';
import { judge } from '../remote/failure.js';
import type { Voyage } from './context.js';
import type { Result } from './crew.js';
import type { Desk } from './desk.js';
import { hashOf } from './recover.js';
import type { PlainTask, Task } from './task.js';

export class Comparer {
  readonly #desk: Desk;

  constructor(desk: Desk) {
    this.#desk = desk;
  }

  async examine(task: PlainTask<'examine'>): Promise<Result<Task>> {
    const { voyage, hands } = this.#desk;
    const { root, tally } = voyage;
    const { action } = task;
    const { file, baseline, remote, there } = action;
    const settling = this.#desk.settlesInMs(file);
    if (settling > 0) return { again: task, inMs: settling };
    const seenAtMs = Date.now();
    const local = (await hashOf(root, file)) === baseline.sha256 ? 'same' : 'changed';
    // Once it is another one here, the times say enough of the other side.
    const differs =
      remote !== undefined && local === 'same' && (await this.#holdsAnother(there, file, remote.sizeBytes));
    const verdict = action.decide({ local, remote: differs ? 'changed' : 'same' });
    // Else it would be read again in every run, whatever becomes of it.
    if (local === 'same') this.#agree(action, settledFingerprint(file, seenAtMs), verdict);
    if (verdict.kind !== 'unchanged') return hands.turnTo(verdict, task);
    tally.unchanged += 1;
    return 'done';
  }

  #agree(
    { path, baseline, remote }: PlainTask<'examine'>['action'],
    local: Fingerprint,
    verdict: Verdict,
  ): void {
    const bindingId = this.#desk.voyage.binding;
    const modifiedMs = remote?.modifiedMs ?? baseline.remoteModifiedMs;
    if (verdict.kind === 'unchanged' && modifiedMs !== baseline.remoteModifiedMs) {
      // Touched there: that it is the same still is known now.
      const agreed = { ...baseline, local, remoteModifiedMs: modifiedMs };
      this.#desk.record({ kind: 'adopted', bindingId, baseline: agreed, temporary: undefined });
    } else if (!sameFingerprint(local, baseline.local)) {
      this.#desk.record({ kind: 'refreshed', bindingId, path, local });
    }
  }

  async meet(task: PlainTask<'meet'>): Promise<Result<Task>> {
    const { voyage, hands } = this.#desk;
    const { root, tally, binding, placement, job } = voyage;
    const { path, action } = task;
    const { local, remote } = action;
    if (action.proof === 'compared') {
      const content = await this.#difference(action).catch((error: unknown) => unread(error, voyage));
      if (content !== undefined) return hands.turnTo(action.decide(content), task);
    }
    const seenAtMs = Date.now();
    const target = placement.targetOf(path, action);
    const baseline =
      isLink(local) || isLink(remote)
        ? contentless(path, { target, leadsTo: leadsToOf(local) })
        : {
            path,
            local: settledFingerprint(local, seenAtMs),
            sha256: await hashOf(root, local),
            remoteModifiedMs: remote.modifiedMs,
            target,
          };
    this.#desk.record({ kind: 'adopted', bindingId: binding, baseline, temporary: undefined });
    tally.unchanged += 1;
    if (job.mode !== 'move') return 'done';
    const side = job.direction === 'push' ? 'local' : 'remote';
    return hands.turnTo({ ...action, kind: 'finish', side, baseline }, task);
  }

  /** Which side differs from what they agreed on last, or both where they never did; undefined where they are the same. */
  async #difference(action: Extract<Meet, { proof: 'compared' }>): Promise<Content | undefined> {
    const { root } = this.#desk.voyage;
    const { local, remote, there, baseline } = action;
    const told = await this.#digestThere(there, remote.sizeBytes);
    if (told !== undefined && (await agrees(root, local, told))) return undefined;
    if (baseline === undefined) return { local: 'changed', remote: 'changed' };
    const isBaseline = told?.algorithm === 'SHA-256' && told.hex === baseline.sha256;
    return {
      local: (await hashOf(root, local)) === baseline.sha256 ? 'same' : 'changed',
      remote: isBaseline ? 'same' : 'changed',
    };
  }

  async #holdsAnother(there: string, file: LocalFile, sizeBytes: number): Promise<boolean> {
    const told = await this.#digestThere(there, sizeBytes);
    return told === undefined || !(await agrees(this.#desk.voyage.root, file, told));
  }

  /** Undefined where the file is not there any more. */
  async #digestThere(there: string, sizeBytes: number): Promise<Digest | undefined> {
    const { remote, context } = this.#desk.voyage;
    this.#desk.hands.goOn();
    const told = await remote.digest(there, { sizeBytes, signal: context.cut });
    this.#desk.hands.fared();
    return told;
  }
}

/**
 * A server may show a file and not let it be read. Where it is compared only because the ledger may have forgotten it,
 * it is then sent, as it would have been without a look.
 */
function unread(error: unknown, { memory, job }: Pick<Voyage, 'memory' | 'job'>): Content {
  const needed = job.mode === 'two-way' || job.compare === 'checksum' || job.direction === 'pull';
  if (memory === 'settled' || needed || judge(error).decision !== 'skip') throw error;
  return { local: 'changed', remote: 'changed' };
}

async function agrees(root: string, file: LocalFile, { algorithm, hex }: Digest): Promise<boolean> {
  const source = await LocalSource.open(root, file);
  try {
    return (await source.digestOf(file.sizeBytes, algorithm)) === hex;
  } finally {
    await source.close();
  }
}
