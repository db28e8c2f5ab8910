/*
 * One run of one job: lock, recover what an earlier run left, scan, carry out, record, report.
 * Never throws for what a person should read: whatever ends a run is in its report.
 */
import type { Job } from '../job/job.js';
import { acquireLock, lockDirectory } from '../ledger/lock.js';
import { openRoot } from '../local/walk.js';
import type { Verdict } from '../plan/action.js';
import { emptyTally, type Outcome, type RunFailure, type Tally } from '../plan/outcome.js';
import { settingsIdentity } from '../remote/account.js';
import { judge } from '../remote/failure.js';
import { Carrier } from './carry.js';
import { bindingKey, type RunContext, type RunReport, type Voyage } from './context.js';
import { Crew } from './crew.js';
import { failureOf, RunEnded } from './end.js';
import { Endings } from './endings.js';
import { weighOf } from './filter.js';
import { Lister } from './lister.js';
import { Outage } from './outage.js';
import { type Finding, hidesFiles, type Scan, scanLocal, scanRemote } from './scan.js';
import type { DownloadTask, Task, UploadTask } from './task.js';

/** How many files may be planned ahead of the workers, for each connection. */
const AHEAD_PER_CONNECTION = 32;

/** How many intents are written in one transaction at the most. */
const INTENTS_AT_ONCE = 64;

/**
 * Runs a job once. Refused, with the failure `locked`, while another run of the same job is under way, in
 * whatever process.
 */
export async function runJob(job: Job, context: RunContext): Promise<RunReport> {
  const beganMs = performance.now();
  const tally = emptyTally();
  let run: number | undefined;
  const report = (outcome: Outcome, failure: RunFailure | undefined): RunReport => {
    const durationMs = Math.round(performance.now() - beganMs);
    if (run !== undefined) {
      context.listener({ event: 'run.ended', job: job.name, run, outcome, tally, durationMs, failure });
    }
    return { job: job.name, run, outcome, tally, durationMs, failure };
  };
  try {
    const { ledger } = context;
    const lock = acquireLock(lockDirectory(ledger.file), `job-${job.name}`, `run of job ${job.name}`);
    if (lock.kind === 'held') {
      const message = `${lock.message} Job ${job.name} is not run twice at the same time.`;
      return report('failed', { kind: 'locked', code: 'locked', message });
    }
    try {
      ledger.closeAbandonedRuns(job.name, Date.now());
      const binding = ledger.bind(bindingKey(job));
      if (context.skipped === 'again') ledger.liftSkips(binding);
      run = ledger.startRun({
        job: job.name,
        bindingId: binding,
        trigger: context.trigger,
        pid: process.pid,
        startedAtMs: Date.now(),
      });
      context.listener({ event: 'run.started', job: job.name, run, trigger: context.trigger });
      const failure = await sail({ job, context, run, binding, tally });
      const outcome = outcomeOf(tally, failure, context);
      const kept = outcome === 'interrupted' ? undefined : failure;
      ledger.endRun(run, { outcome, tally, failure: kept, endedAtMs: Date.now() });
      return report(outcome, kept);
    } finally {
      lock.release();
    }
  } catch (error) {
    return report('failed', failureOf(error));
  }
}

type Begun = Pick<Voyage, 'job' | 'context' | 'run' | 'binding' | 'tally'>;

/** @returns why the run ended early, or what went wrong with files on its way; undefined where there is neither */
async function sail(begun: Begun): Promise<RunFailure | undefined> {
  const { job, context } = begun;
  try {
    const root = await openSource(job);
    const account = await context.accounts.of(job.server);
    const voyage: Voyage = {
      ...begun,
      root,
      remote: account.remote(job.remotePath),
      settings: settingsIdentity(job.server),
      random: context.random ?? Math.random,
      weigh: weighOf(job, Date.now()),
    };
    const outage = new Outage({
      retries: job.retries,
      server: job.server.name,
      where: { job: job.name, run: begun.run },
      listener: context.listener,
      random: voyage.random,
    });
    const endings = new Endings(voyage);
    const carrier = new Carrier(voyage, { outage, endings });
    try {
      await recover(voyage, carrier);
      await carryAll(voyage, carrier, outage);
    } catch (error) {
      endings.abandon();
      throw error;
    }
    return endings.finish();
  } catch (error) {
    return failureOf(error);
  }
}

async function openSource(job: Job): Promise<string> {
  try {
    return await openRoot(job.local);
  } catch (error) {
    const { code, message } = failureOf(error);
    const what = job.direction === 'push' ? 'The source' : 'The target directory';
    throw new RunEnded(
      'failed',
      code,
      `${what} of job ${job.name} cannot be used: ${message} Is its disk mounted? Nothing was changed on either side.`,
    );
  }
}

/** First of all: bring what an earlier run left in the middle to a known state. */
async function recover(voyage: Voyage, carrier: Carrier): Promise<void> {
  const { context, binding, job } = voyage;
  const intents = [...context.ledger.openIntents(binding)];
  if (intents.length === 0) return;
  const crew = new Crew<Task>({
    workers: Math.min(job.server.connections, intents.length),
    capacity: intents.length,
    work: (task) => carrier.work(task),
    stop: context.stop,
  });
  await crew.add(intents.map((intent) => ({ kind: 'recover', path: intent.path, intent, attempt: 1 })));
  await crew.finish();
}

async function carryAll(voyage: Voyage, carrier: Carrier, outage: Outage): Promise<void> {
  const { job, context } = voyage;
  // Several uploads share a connection, one behind the other; a download has one for itself.
  const workers = job.direction === 'push' ? voyage.remote.appetite : job.server.connections;
  const crew = new Crew<Task>({
    workers,
    capacity: job.server.connections * AHEAD_PER_CONNECTION,
    work: (task) => carrier.work(task),
    stop: context.stop,
  });
  let seen = 0;
  const onFinding = (finding: Finding): void => {
    if (hidesFiles(finding)) seen += 1;
    tell(finding, voyage);
  };
  let batch: (UploadTask | DownloadTask)[] = [];
  const send = async (): Promise<void> => {
    carrier.intend(batch);
    const tasks = batch;
    batch = [];
    await crew.add(tasks);
  };
  try {
    for await (const verdict of verdicts(voyage, new Lister(voyage, outage), onFinding)) {
      if (crew.ended) break;
      if (verdict.kind !== 'kept') seen += 1;
      const task = taskOf(verdict, carrier, voyage);
      if (task === undefined) continue;
      if (task.kind === 'upload' || task.kind === 'download') {
        batch.push(task);
        // Many at once while the workers are busy; at once while they wait.
        if (batch.length >= INTENTS_AT_ONCE || crew.hungry) await send();
      } else {
        await crew.add([task]);
      }
    }
    if (!crew.ended) await send();
  } catch (error) {
    await crew.abandon();
    throw asEnd(error);
  }
  await crew.finish();
  await carrier.clearParts();
  if (seen === 0 && job.direction === 'push' && context.stop?.aborted !== true) refuseEmpty(voyage);
}

function verdicts(voyage: Voyage, lister: Lister, onFinding: Scan['onFinding']): AsyncGenerator<Verdict> {
  const { job, context, binding, settings, root, weigh } = voyage;
  const scan: Scan = {
    job,
    ledger: context.ledger,
    binding,
    settings,
    weigh,
    onFinding,
  };
  return job.direction === 'push' ? scanLocal(scan, root) : scanRemote(scan, lister, root);
}

/** What the scan left out is told, and what was meant to go along stands in the history too. */
function tell(finding: Finding, voyage: Voyage): void {
  const { job, context, run, binding, tally } = voyage;
  const { path, message } = finding;
  const where = { job: job.name, run, path, message };
  if (finding.kind === 'ignored' || finding.kind === 'waiting') {
    context.listener({ event: finding.kind === 'ignored' ? 'file.ignored' : 'file.waiting', ...where });
    return;
  }
  const { kind, code } = finding;
  tally.skipped += 1;
  if (kind === 'unreadable') context.listener({ event: 'scan.problem', ...where, code });
  else context.listener({ event: 'file.skipped', ...where, code, remembered: false });
  context.ledger.record({
    kind: 'skipped',
    bindingId: binding,
    runId: run,
    path: path === '' ? '.' : path,
    attempt: 1,
    durationMs: 0,
    atMs: Date.now(),
    code,
    text: message,
    remember: undefined,
    temporary: undefined,
  });
}

function taskOf(verdict: Verdict, carrier: Carrier, voyage: Voyage): Task | undefined {
  const { tally } = voyage;
  const { path } = verdict;
  switch (verdict.kind) {
    case 'upload':
      return carrier.uploadOf(path, verdict.file);
    case 'download':
      return {
        kind: 'download',
        path,
        file: verdict.file,
        attempt: 1,
        temporary: carrier.temporaryFor(path),
        baseline: verdict.baseline,
        part: undefined,
      };
    case 'examine':
      return { kind: 'examine', path, file: verdict.file, baseline: verdict.baseline, attempt: 1 };
    case 'unchanged':
      tally.unchanged += 1;
      return undefined;
    case 'remembered':
      tally.skipped += 1;
      return undefined;
    case 'left-out':
    case 'kept':
      return undefined;
  }
}

/** The guard of a copy: a source that was full and is empty now is a disk that is not mounted. */
function refuseEmpty(voyage: Voyage): void {
  const { job, context, binding } = voyage;
  const remembered = context.ledger.countKnown(binding);
  if (remembered === 0) return;
  throw new RunEnded(
    'held',
    'source-empty',
    `The source ${job.local} of job ${job.name} has no file for this job, and ${remembered} were delivered from it before. Is its disk mounted, and do the patterns still fit? Nothing was changed on the server.`,
  );
}

/** A scan that fails (a listing, the ledger) ends the run with the same judgement as a transfer. */
function asEnd(error: unknown): unknown {
  if (error instanceof RunEnded) return error;
  const { kind, code, message } = judge(error);
  return new RunEnded(kind, code, message);
}

function outcomeOf(tally: Tally, failure: RunFailure | undefined, context: RunContext): Outcome {
  // A mismatch did not end the run; whatever else has this kind, the other files were carried.
  const stopsShort = failure !== undefined && failure.kind !== 'verification';
  if (failure?.code === 'interrupted' || (!stopsShort && context.stop?.aborted === true))
    return 'interrupted';
  if (stopsShort) return failure.kind === 'held' ? 'held' : 'failed';
  return tally.skipped > 0 ? 'partial' : 'ok';
}
