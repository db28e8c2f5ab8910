/*
 * Planning without doing: the scan of a run, its verdicts handed out in place of being carried out. Changes
 * nothing, on neither side and not in the ledger; a pull asks the server for its listings.
 */
import type { Job } from '../job/job.js';
import type { LedgerReader } from '../ledger/reader.js';
import { openRoot } from '../local/walk.js';
import type { Verdict } from '../plan/action.js';
import { settingsIdentity } from '../remote/account.js';
import type { Accounts } from './accounts.js';
import { bindingKey } from './context.js';
import { weighOf } from './filter.js';
import { type Finding, type Scan, scanLocal, scanRemote } from './scan.js';

export interface PlanContext {
  /** Undefined where there is no ledger yet. */
  readonly ledger: LedgerReader | undefined;
  readonly accounts: Accounts;
  readonly onFinding: (finding: Finding) => void;
}

/**
 * The verdicts of a run of this job, in the order of the paths.
 *
 * @throws LocalError where the source cannot be opened; for a pull also what listing the server throws
 */
export async function* planJob(job: Job, context: PlanContext): AsyncGenerator<Verdict> {
  const { ledger } = context;
  const root = await openRoot(job.local);
  const binding = bindingOf(job, ledger);
  const scan: Scan = {
    job,
    ledger,
    binding,
    settings: settingsIdentity(job.server),
    weigh: weighOf(job, Date.now()),
    onFinding: context.onFinding,
  };
  if (job.direction === 'push') yield* scanLocal(scan, root);
  else yield* scanRemote(scan, (await context.accounts.of(job.server)).remote(job.remotePath), root);
}

/** How many files the ledger remembers of this job, as it is pointed now. */
export function rememberedFiles(job: Job, ledger: LedgerReader | undefined): number {
  const binding = bindingOf(job, ledger);
  return binding === undefined || ledger === undefined ? 0 : ledger.countKnown(binding);
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
