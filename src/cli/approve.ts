/*
 * `ferryd approve JOB`: releases exactly what the guard has held of a job, and shows what that is. Deletes nothing by
 * itself: the next run that plans the same does.
 */
import { nextRuns } from '../daemon/coverage.js';
import type { Job } from '../job/job.js';
import type { Approval, HeldPlan, PlannedDeletion } from '../ledger/deletion.js';
import { lockDirectory, whoHolds } from '../ledger/lock.js';
import type { LedgerReader } from '../ledger/reader.js';
import { TRASH } from '../plan/trash.js';
import { printable } from '../report/printable.js';
import { formatBytes } from '../report/summary.js';
import { withoutAdvice } from '../run/guard.js';
import { heldNow } from '../run/plan.js';
import { machineSeed } from '../trigger/jitter.js';
import { CommandFailed, type ExitCode } from './exit.js';
import { deletionsOf, heldJson, heldSince } from './held.js';
import {
  type GlobalOptions,
  jobsNamed,
  ledgerFile,
  load,
  openForReading,
  openForWriting,
  openLog,
} from './surroundings.js';
import { columns, moment } from './table.js';

/** How many deletions are shown by name; the rest is counted. */
const SHOWN = 20;

/** What was released, and the sentence about what comes next. With `--json` one object. */
export async function approve(name: string, options: GlobalOptions): Promise<ExitCode> {
  const nowMs = Date.now();
  const configuration = await load(options);
  const [job] = jobsNamed(configuration, [name]);
  if (job === undefined) throw new CommandFailed(2, `There is no job ${name}.`);
  // Asking what is held must not make a ledger.
  const reader = openForReading(options);
  reader?.close();
  if (reader === undefined) throw nothingHeld(name);
  const log = openLog(options, configuration.agent);
  const ledger = openForWriting(options, log.listener);
  try {
    const before = ledger.heldPlan(name);
    if (before !== undefined && heldNow(job, ledger, nowMs) === undefined) {
      throw new CommandFailed(
        1,
        `Job ${name} was held ${heldSince(before, nowMs)}, when its job file named other places: the next run would not delete that, so there is nothing to release. "ferryd plan ${name}" shows what it would do.`,
      );
    }
    const plan = released(name, ledger.approve(name, nowMs));
    const deletions: PlannedDeletion[] = [];
    for (const deletion of ledger.heldDeletions(plan.bindingId)) {
      deletions.push(deletion);
      if (deletions.length === SHOWN) break;
    }
    const isNews = before?.approvedAtMs === undefined;
    if (options.json === true) {
      const paths = deletions.map(({ path, side, sizeBytes }) => ({ path, side, bytes: sizeBytes }));
      process.stdout.write(
        `${JSON.stringify({ job: name, released: isNews, held: heldJson(plan), paths })}\n`,
      );
      return 0;
    }
    process.stdout.write(
      `${headText(name, { plan, isNews, nowMs })}\n${deletionsText(deletions, plan, job)}`,
    );
    const daemon = whoHolds(lockDirectory(ledgerFile(options)), 'daemon');
    process.stdout.write(`${nextText(job, ledger, daemon !== undefined)}\n`);
    return 0;
  } finally {
    ledger.close();
    await log.close();
  }
}

function released(name: string, approval: Approval): HeldPlan {
  switch (approval.kind) {
    case 'approved':
      return approval.plan;
    case 'nothing-held':
      throw nothingHeld(name);
    case 'nothing-to-approve': {
      const { message, atMs, code } = approval.plan;
      throw new CommandFailed(
        1,
        `Job ${name} is held since ${moment(atMs)}, and not over deletions: there is nothing to release. ${message} ${insteadOf(code, name)}`,
      );
    }
  }
}

function nothingHeld(name: string): CommandFailed {
  return new CommandFailed(
    1,
    `Job ${name} is not held: there is nothing to release. "ferryd plan ${name}" shows what a run would do.`,
  );
}

/** What helps where nothing can be released. */
function insteadOf(code: string, name: string): string {
  const run = `then start "ferryd run ${name}", or wait for its next trigger.`;
  if (code === 'marker-missing') return `Put it right, ${run}`;
  return `Put it right, ${run} If the place is empty on purpose, there is nothing to do; to begin afresh, give the job another name.`;
}

function headText(
  name: string,
  parts: { readonly plan: HeldPlan; readonly isNews: boolean; readonly nowMs: number },
): string {
  const { plan, isNews, nowMs } = parts;
  const held = `${withoutAdvice(name, plan.message)}\nHeld ${heldSince(plan, nowMs)}.`;
  return isNews
    ? `${held} Released now: the deletion of ${deletionsOf(plan)}.`
    : `${held} The deletion of ${deletionsOf(plan)} was released already, ${moment(plan.approvedAtMs)}.`;
}

function deletionsText(
  deletions: readonly PlannedDeletion[],
  { files, directories }: HeldPlan,
  { deletes }: Job,
): string {
  const rows = deletions.map(({ path, side, kind, sizeBytes, leadsTo }) => {
    const trash = deletes.policy === 'trash' && kind === 'file';
    const where = `${side === 'local' ? 'here' : 'on the server'}${trash ? `, into ${TRASH}` : ''}`;
    const size = kind === 'directory' ? '' : leadsTo === undefined ? formatBytes(sizeBytes) : 'link';
    return [`  ${trash ? 'trash' : 'delete'}`, printable(path), size, where];
  });
  const more = files + directories - deletions.length;
  return `${columns(rows)}${more > 0 ? `  and ${more} more\n` : ''}`;
}

function nextText(job: Job, ledger: LedgerReader, daemonRuns: boolean): string {
  const next = nextRuns(job, ledger, { seed: machineSeed(), nowMs: Date.now() })[0]?.atMs;
  const at = daemonRuns && next !== undefined ? `; the daemon does so ${moment(next)}` : '';
  return `The next run deletes exactly that, as long as nothing of it has changed: "ferryd run ${job.name}" starts one now${at}.`;
}
