/*
 * Where content decides: a file that was only touched, two files that may be one, and whatever a job with
 * `compare: checksum` wants to be sure of. Reads what is here, asks the remote for a digest of what is there, and goes
 * on with the verdict that the planner has for the answer.
 */

import { settledFingerprint } from '../local/fingerprint.js';
import { LocalSource } from '../local/source.js';
import type { Digest } from '../plan/digest.js';
import type { LocalFile } from '../plan/entry.js';
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
    const { root, tally, binding } = voyage;
    const { path, action } = task;
    const { file, baseline, remote, there } = action;
    const settling = this.#desk.settlesInMs(file);
    if (settling > 0) return { again: task, inMs: settling };
    const seenAtMs = Date.now();
    const local = (await hashOf(root, file)) === baseline.sha256 ? 'same' : 'changed';
    // Once it is another one here, the times say enough of the other side.
    const differs =
      remote !== undefined && local === 'same' && (await this.#holdsAnother(there, file, remote.sizeBytes));
    const verdict = action.decide({ local, remote: differs ? 'changed' : 'same' });
    if (verdict.kind !== 'unchanged') return hands.turnTo(verdict, task);
    const fingerprint = settledFingerprint(file, seenAtMs);
    const modifiedMs = remote?.modifiedMs ?? baseline.remoteModifiedMs;
    if (modifiedMs === baseline.remoteModifiedMs) {
      this.#desk.record({ kind: 'refreshed', bindingId: binding, path, local: fingerprint });
    } else {
      // Touched there: that it is the same still is known now.
      const agreed = { ...baseline, local: fingerprint, remoteModifiedMs: modifiedMs };
      this.#desk.record({ kind: 'adopted', bindingId: binding, baseline: agreed, temporary: undefined });
    }
    tally.unchanged += 1;
    return 'done';
  }

  async meet(task: PlainTask<'meet'>): Promise<Result<Task>> {
    const { voyage, hands } = this.#desk;
    const { root, tally, binding, placement, job } = voyage;
    const { path, action } = task;
    const { local, remote, there, proof } = action;
    if (proof === 'compared' && (await this.#holdsAnother(there, local, remote.sizeBytes))) {
      return hands.turnTo(action.decide({ local: 'changed', remote: 'changed' }), task);
    }
    const seenAtMs = Date.now();
    const baseline = {
      path,
      local: settledFingerprint(local, seenAtMs),
      sha256: await hashOf(root, local),
      remoteModifiedMs: remote.modifiedMs,
      target: placement.targetOf(path, action),
    };
    this.#desk.record({ kind: 'adopted', bindingId: binding, baseline, temporary: undefined });
    tally.unchanged += 1;
    if (job.mode !== 'move') return 'done';
    const side = job.direction === 'push' ? 'local' : 'remote';
    return hands.turnTo({ ...action, kind: 'finish', side, baseline }, task);
  }

  async #holdsAnother(there: string, file: LocalFile, sizeBytes: number): Promise<boolean> {
    const { root, remote, context } = this.#desk.voyage;
    this.#desk.hands.goOn();
    const told = await remote.digest(there, { sizeBytes, signal: context.cut });
    this.#desk.hands.fared();
    return told === undefined || !(await agrees(root, file, told));
  }
}

async function agrees(root: string, file: LocalFile, { algorithm, hex }: Digest): Promise<boolean> {
  const source = await LocalSource.open(root, file);
  try {
    return (await source.digestOf(file.sizeBytes, algorithm)) === hex;
  } finally {
    await source.close();
  }
}
