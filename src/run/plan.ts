/*
 * Planning without doing: the scan of a run, its verdicts handed out in place of being carried out, and what the guard
 * would say of them. Changes nothing, on neither side and not in the ledger; asks the server only for what a run would
 * have to see before it does anything.
 */
import type { Job } from '../job/job.js';
import type { HeldPlan } from '../ledger/deletion.js';
import type { LedgerReader } from '../ledger/reader.js';
import type { Removal, Verdict } from '../plan/action.js';
import { comparePaths } from '../plan/entry.js';
import { settingsIdentity } from '../remote/account.js';
import { doomedBy } from './carry.js';
import { bindingKey, type Harbour, memoryOf, policyOf } from './context.js';
import { weighOf } from './filter.js';
import { checkMarker, judgeWhole, type Refusal } from './guard.js';
import { Placement } from './placement.js';
import { findLocal, resolveJob } from './resolve.js';
import { scanJob } from './scan.js';
import { type Finding, hidesFiles } from './sights.js';

export interface PlanContext {
  /** Undefined where there is no ledger yet. */
  readonly ledger: LedgerReader | undefined;
  readonly accounts: Harbour;
  readonly onFinding: (finding: Finding) => void;
  /** When the run would begin, in milliseconds since 1970: what its dates and ages count from. Now, unless told. */
  readonly nowMs?: number | undefined;
  /** Hears, at the end, why a run would be held. */
  readonly onRefusal?: ((refusal: Refusal) => void) | undefined;
}

/**
 * The verdicts of a run of this job, and what is found besides, in the order of the paths.
 *
 * @throws RunEnded where the local side cannot be used or the marker is missing; what asking the server throws
 */
export async function* planJob(job: Job, context: PlanContext): AsyncGenerator<Verdict> {
  const { ledger, accounts } = context;
  const { nowMs = Date.now() } = context;
  const resolved = resolveJob(job, nowMs);
  const root = await findLocal(resolved);
  const binding = bindingOf(resolved.job, ledger);
  const memory = memoryOf(ledger, binding);
  const placement = new Placement(resolved.job, resolved.prefix);
  const remote = async () => (await accounts.of(job.server)).remote(resolved.job.remotePath);
  await checkMarker({ job: resolved.job, root }, async (marker) => (await remote()).stat(marker));
  const seen = { local: 0, remote: 0 };
  const released = new Released(resolved.job.name, ledger, binding);
  // The scan finds several hundred paths ahead of their verdicts; a person reads them in the order of the paths.
  const found: Finding[] = [];
  const tellUpTo = (path: string | undefined): void => {
    for (let [next] = found; next !== undefined; [next] = found) {
      if (path !== undefined && comparePaths(next.path, path) > 0) return;
      context.onFinding(next);
      found.shift();
    }
  };
  const verdicts = scanJob({
    job: resolved.job,
    root,
    remote,
    ledger,
    binding,
    policy: policyOf(resolved.job, { settings: settingsIdentity(job.server), placement, memory }),
    memory,
    placement,
    weigh: weighOf(resolved.job, nowMs),
    seen,
    onFinding: (finding) => {
      if (hidesFiles(finding)) seen.local += 1;
      found.push(finding);
    },
  });
  for await (const some of verdicts) {
    for (const verdict of some) {
      tellUpTo(verdict.path);
      if (verdict.kind === 'remove') released.count(verdict);
      yield verdict;
    }
  }
  tellUpTo(undefined);
  const remembered = {
    here: binding === undefined ? 0 : (ledger?.countKnown(binding) ?? 0),
    elsewhere: binding === undefined ? 0 : (ledger?.rememberedElsewhere(binding) ?? 0),
  };
  const refusal = judgeWhole(resolved.job, {
    memory,
    seen,
    doomed: released.doomed,
    unplanned: 0,
    deleted: 0,
    remembered,
  });
  if (refusal !== undefined) context.onRefusal?.(refusal);
}

/**
 * What waits for a person at the places between which the job ferries now; undefined where nothing does.
 *
 * @param nowMs for the dates in its paths, in milliseconds since 1970
 */
export function heldNow(job: Job, ledger: LedgerReader | undefined, nowMs: number): HeldPlan | undefined {
  const plan = ledger?.heldPlan(job.name);
  if (plan === undefined) return undefined;
  return plan.bindingId === bindingOf(resolveJob(job, nowMs).job, ledger) ? plan : undefined;
}

/** Counts deletions, and which of them a person has released already. */
class Released {
  readonly #approved = new Set<string>();
  readonly doomed = { total: 0, approved: 0, directories: 0, approvedDirectories: 0, foreign: 0 };

  constructor(job: string, ledger: LedgerReader | undefined, binding: number | undefined) {
    if (ledger === undefined || binding === undefined) return;
    const plan = ledger.heldPlan(job);
    if (plan?.bindingId !== binding || plan.approvedAtMs === undefined) return;
    for (const deletion of ledger.heldDeletions(binding)) this.#approved.add(keyOf(deletion));
  }

  count(removal: Removal): void {
    const deletion = doomedBy(removal);
    const approved = this.#approved.has(keyOf(deletion)) ? 1 : 0;
    const directory = deletion.kind === 'directory' ? 1 : 0;
    this.doomed.total += 1;
    this.doomed.approved += approved;
    this.doomed.directories += directory;
    this.doomed.approvedDirectories += approved * directory;
    this.doomed.foreign += deletion.known === 'extraneous' ? 1 - approved : 0;
  }
}

/** What makes two deletions the same. */
function keyOf(deletion: ReturnType<typeof doomedBy>): string {
  const { path, side, at, kind, sizeBytes, modifiedMs, leadsTo } = deletion;
  return JSON.stringify([path, side, at, kind, sizeBytes, modifiedMs ?? null, leadsTo ?? null]);
}

function bindingOf(job: Job, ledger: LedgerReader | undefined): number | undefined {
  const wanted = bindingKey(job);
  return ledger
    ?.bindingsOf(job.name)
    .find(
      (binding) =>
        binding.direction === wanted.direction &&
        binding.server === wanted.server &&
        binding.remoteRoot === wanted.remoteRoot &&
        binding.localRoot === wanted.localRoot,
    )?.id;
}
