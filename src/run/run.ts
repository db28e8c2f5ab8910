/*
 * One run of one job: lock, hook, recover what an earlier run left, scan, carry out, guard, delete, hook, record,
 * report.
 * Never throws for what a person should read: whatever ends a run is in its report.
 */
import type { Job } from '../job/job.js';
import { acquireLock, lockDirectory } from '../ledger/lock.js';
import type { RunRecord } from '../ledger/record.js';
import { emptyTally, type Outcome, type RunFailure, type Tally } from '../plan/outcome.js';
import { settingsIdentity } from '../remote/account.js';
import { Carrier } from './carry.js';
import { bindingKey, memoryOf, policyOf, type RunContext, type RunReport, type Voyage } from './context.js';
import { Crew } from './crew.js';
import { failureOf } from './end.js';
import { Endings } from './endings.js';
import { weighOf } from './filter.js';
import { checkMarker, judgeWhole, type Refusal, unreleased, type Whole } from './guard.js';
import { Hooks } from './hooks.js';
import { Lister } from './lister.js';
import { scopeOf } from './narrow.js';
import { Outage } from './outage.js';
import { Pass } from './pass.js';
import { Placement } from './placement.js';
import { pruneWhenDue } from './pruning.js';
import { emptyingOf, trialsOf } from './recover.js';
import { openLocal, type Resolved, resolveJob } from './resolve.js';
import { deletes } from './scan.js';
import type { Task } from './task.js';

/** How often a run may go over both sides: once more for what could come only after something else had gone. */
const PASSES = 3;

/**
 * Runs a job once. Refused, with the failure `locked`, while another run of the same job is under way, in
 * whatever process.
 */
export async function runJob(job: Job, context: RunContext): Promise<RunReport> {
  const beganMs = performance.now();
  const tally = emptyTally();
  const extent: Extent = { places: undefined };
  let run: number | undefined;
  const report = (outcome: Outcome, failure: RunFailure | undefined): RunReport => {
    const durationMs = Math.round(performance.now() - beganMs);
    const { places } = extent;
    if (run !== undefined) {
      context.listener({
        event: 'run.ended',
        job: job.name,
        run,
        outcome,
        tally,
        places,
        durationMs,
        failure,
      });
    }
    return { job: job.name, run, outcome, tally, places, durationMs, failure };
  };
  try {
    const { ledger } = context;
    const lock = acquireLock(lockDirectory(ledger.file), `job-${job.name}`, `run of job ${job.name}`);
    if (lock.kind === 'held') {
      const message = `${lock.message} Job ${job.name} is not run twice at the same time.`;
      return report('failed', { kind: 'locked', code: 'locked', message });
    }
    try {
      const startedAtMs = (context.now ?? Date.now)();
      ledger.closeAbandonedRuns(job.name, startedAtMs);
      const resolved = resolveJob(job, startedAtMs);
      const binding = ledger.bind(bindingKey(resolved.job));
      const last = ledger.lastRuns(job.name, 1)[0];
      if (context.skipped === 'again') ledger.liftSkips(binding);
      run = ledger.startRun({
        job: job.name,
        bindingId: binding,
        trigger: context.trigger,
        pid: process.pid,
        startedAtMs,
      });
      context.listener({ event: 'run.started', job: job.name, run, trigger: context.trigger });
      const hooks = new Hooks(resolved.job, { context, run });
      const sailed =
        (await hooks.before()) ??
        (await sail({ resolved, context, run, binding, tally, extent, startedAtMs, last }));
      const reached = outcomeOf(tally, sailed, context);
      const afterwards = await hooks.after({ outcome: reached, failure: sailed, tally });
      // What went wrong first, or graver, is what a person has to know.
      const spoilt = afterwards !== undefined && sailed === undefined && reached !== 'interrupted';
      const failure = spoilt ? afterwards : sailed;
      const outcome = spoilt ? 'failed' : reached;
      const kept = outcome === 'interrupted' ? undefined : failure;
      ledger.endRun(run, { outcome, tally, ...extent, failure: kept, endedAtMs: Date.now() });
      return report(outcome, kept);
    } finally {
      lock.release();
    }
  } catch (error) {
    return report('failed', failureOf(error));
  }
}

type Begun = Pick<Voyage, 'context' | 'run' | 'binding' | 'tally' | 'startedAtMs'> & {
  readonly resolved: Resolved;
  readonly extent: Extent;
  /** The run before. */
  readonly last: RunRecord | undefined;
};

/** How much a run has looked at: so many places, or everything. */
interface Extent {
  places: number | undefined;
}

/** @returns why the run ended early, or what went wrong with files on its way; undefined where there is neither */
async function sail(begun: Begun): Promise<RunFailure | undefined> {
  const { resolved, context, run } = begun;
  const { job, prefix } = resolved;
  try {
    const root = await openLocal(resolved);
    const account = await context.accounts.of(job.server);
    const placement = new Placement(job, prefix);
    const memory = memoryOf(context.ledger, begun.binding);
    const settings = settingsIdentity(job.server);
    const voyage: Voyage = {
      ...begun,
      job,
      root,
      remote: account.remote(job.remotePath, trialsOf(begun)),
      placement,
      policy: policyOf(job, { settings, placement, memory }),
      memory,
      random: context.random ?? Math.random,
      // Counted from here: what the `before` hook has just written is younger than the run.
      weigh: weighOf(job, (context.now ?? Date.now)()),
    };
    const outage = new Outage({
      retries: job.retries,
      server: job.server.name,
      where: { job: job.name, run },
      listener: context.listener,
      random: voyage.random,
    });
    const endings = new Endings(voyage);
    const carrier = new Carrier(voyage, { outage, endings });
    const lister = new Lister(voyage, outage);
    let held: RunFailure | undefined;
    try {
      // A run that was killed may have left deletions planned; nobody holds those.
      context.ledger.beginPlan(voyage.binding);
      await checkMarker(voyage, (marker) => lister.stat(marker));
      const left = await recover(voyage, carrier);
      const scope = scopeOf({ ...voyage, last: begun.last, left }, context.onScan);
      const pass = new Pass(voyage, { carrier, lister, number: 1 });
      if (scope !== undefined && (await pass.carryPart(scope)) === 'carried')
        begun.extent.places = scope.size;
      else held = await carryAll(voyage, carrier, lister);
    } catch (error) {
      endings.abandon();
      throw error;
    }
    const failure = endings.finish();
    // A run that is held changes nothing more than it has. One that broke off may have left something in the trash
    // that is not taken down anywhere.
    const used = endings.trashed || isBrokenOff(begun.last) ? 'used' : 'unused';
    if (held === undefined) await pruneWhenDue(voyage, lister, used);
    return held ?? failure;
  } catch (error) {
    const failure = failureOf(error);
    if (failure.kind === 'held') hold(begun, failure);
    return failure;
  }
}

function isBrokenOff(last: RunRecord | undefined): boolean {
  const ended = last?.state === 'ended' ? last.outcome : undefined;
  return last !== undefined && ended !== 'ok' && ended !== 'partial';
}

/**
 * First of all: bring what an earlier run left in the middle to a known state.
 *
 * @returns whether there was something
 */
async function recover(voyage: Voyage, carrier: Carrier): Promise<'nothing' | 'something'> {
  const { context, binding, job } = voyage;
  const intents = [...context.ledger.openIntents(binding)];
  const ofFiles = intents.filter((intent) => emptyingOf(intent) === undefined);
  const ofDirectories = intents.filter((intent) => emptyingOf(intent) !== undefined);
  // What is left in a directory goes before it is looked at whether the directory is empty.
  for (const some of [ofFiles, ofDirectories]) {
    if (some.length === 0) continue;
    const crew = new Crew<Task>({
      workers: some === ofFiles ? Math.min(job.server.connections, some.length) : 1,
      capacity: some.length,
      work: (task) => carrier.work(task),
      stop: context.stop,
    });
    await crew.add(some.map((intent) => ({ kind: 'recover', path: intent.path, intent, attempt: 1 })));
    await crew.finish();
  }
  return intents.length === 0 ? 'nothing' : 'something';
}

/**
 * Goes over both sides, delivers, and deletes what the guard lets go; once more for what had to wait for that.
 *
 * @returns why the guard held deletions back
 */
async function carryAll(voyage: Voyage, carrier: Carrier, lister: Lister): Promise<RunFailure | undefined> {
  const { context, binding, job } = voyage;
  const { ledger } = context;
  // What is delivered from here on is no proof that a side was full before.
  const remembered = {
    here: ledger.countKnown(binding),
    elsewhere: ledger.rememberedElsewhere(binding),
  };
  let judged = 0;
  for (let number = 1; ; number += 1) {
    const before = { cleared: carrier.cleared, setAside: carrier.setAside };
    ledger.beginPlan(binding);
    const pass = new Pass(voyage, { carrier, lister, number });
    await pass.carry();
    if (isStopped(context)) return undefined;
    const whole = wholeOf(voyage, pass);
    // What a person has released counts for nothing; what was doomed and stayed, neither.
    const deleted = Math.min(voyage.tally.deleted, judged);
    const refusal = judgeWhole(job, { ...whole, memory: voyage.memory, deleted, remembered });
    judged += unreleased(whole.doomed);
    const failure = refusal === undefined ? undefined : failureBy(refusal);
    // What a person has released stays in the plan, and is carried out.
    if (failure !== undefined) hold(voyage, failure);
    if (deletes(job)) await pass.remove();
    if (failure !== undefined) return failure;
    if (isStopped(context)) return undefined;
    const cleared = pass.waiting > 0 && (carrier.cleared > before.cleared || pass.forgotten > 0);
    if (number < PASSES && (cleared || carrier.setAside > before.setAside)) continue;
    pass.tellWaiting();
    ledger.endPlan(binding);
    return undefined;
  }
}

function failureBy({ code, message }: Refusal): RunFailure {
  return { kind: 'held', code, message };
}

function wholeOf(
  { context, binding }: Voyage,
  { seen, released }: Pass,
): Omit<Whole, 'memory' | 'deleted' | 'remembered'> {
  const { ledger, only } = context;
  const doomed = ledger.doomed(binding);
  const approved = { approved: released.total, approvedDirectories: released.directories, foreign: 0 };
  return {
    seen,
    doomed: only === undefined ? doomed : { ...doomed, ...approved },
    unplanned: released.unplanned,
  };
}

function isStopped({ stop }: RunContext): boolean {
  return stop?.aborted === true;
}

/** Keeps the plan for a person to look at. */
function hold(
  { context, binding, run }: Pick<Voyage, 'context' | 'binding' | 'run'>,
  failure: RunFailure,
): void {
  const { code, message } = failure;
  context.ledger.hold(binding, { runId: run, code, message, atMs: Date.now() });
}

function outcomeOf(tally: Tally, failure: RunFailure | undefined, context: RunContext): Outcome {
  // A mismatch did not end the run; whatever else has this kind, the other files were carried.
  const stopsShort = failure !== undefined && failure.kind !== 'verification';
  if (failure?.code === 'interrupted' || (!stopsShort && context.stop?.aborted === true))
    return 'interrupted';
  if (stopsShort) return failure.kind === 'held' ? 'held' : 'failed';
  return tally.skipped > 0 ? 'partial' : 'ok';
}
