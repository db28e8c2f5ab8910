/*
 * Puts what was found into sentences, and into the body of a notice. Pure: it is given the time, and the id.
 */
import type { Outcome, RunFailure, Tally } from '../plan/outcome.js';
import { printable } from '../report/printable.js';
import { formatDuration, fullStop, runSentence } from '../report/summary.js';
import { LONGEST_MESSAGE, type NoticeBody } from './body.js';
import type { Finding, State, Turn } from './states.js';
import type { Aspect, PastRun } from './store.js';

/** A run that has come to its end, or to none: one that never began has no number. */
export interface EndedRun {
  readonly run: number | undefined;
  readonly outcome: Outcome;
  readonly tally: Tally;
  readonly durationMs: number;
  readonly failure: RunFailure | undefined;
}

/** What a run says of its job; undefined where it says nothing: it was called off, or another one was under way. */
export function stateOfRun({ outcome, failure }: EndedRun): State | undefined {
  if (outcome === 'interrupted' || failure?.kind === 'locked') return undefined;
  // Files were carried, and a server that confirms what it does not hold is worse than a file left behind.
  if (failure?.kind === 'verification') return 'failed:verification';
  if (outcome === 'failed') return `failed:${failure?.kind ?? 'failed'}`;
  return outcome;
}

/** What was wrong with a run, without its figures; empty where nothing was. */
export function troubleOf(job: string, { tally, failure, outcome }: EndedRun): string {
  if (failure !== undefined) return limited(failure.message);
  if (outcome !== 'partial') return '';
  const files = tally.skipped === 1 ? '1 file was' : `${tally.skipped} files were`;
  return `${files} skipped; ferryd status ${printable(job)} says which, and why.`;
}

/** Why nothing was proven since `lastMs`, from the runs since then. */
export function overdueWords(
  { freshnessMs, lastMs, provenAtMs, nowMs }: Overdue,
  runs: readonly PastRun[],
): string {
  const ago = formatDuration(nowMs - lastMs);
  const first =
    provenAtMs === undefined
      ? `No run has ever ended ok, and the job is known since ${minuteOf(lastMs)}, for ${ago}`
      : `No run has ended ok since ${minuteOf(lastMs)}, for ${ago}`;
  return `${first}; one is expected every ${formatDuration(freshnessMs)}. ${sinceThen(runs, lastMs)}`;
}

interface Overdue {
  readonly freshnessMs: number;
  readonly lastMs: number;
  readonly provenAtMs: number | undefined;
  readonly nowMs: number;
}

function sinceThen(runs: readonly PastRun[], lastMs: number): string {
  const since = runs.filter(
    (run) => run.startedAtMs >= lastMs && (run.state === 'running' || run.outcome !== 'ok'),
  );
  const [newest] = since;
  if (newest === undefined)
    return 'No run was begun since then: look at its triggers, and whether ferryd runs.';
  const running = newest.state === 'running' ? ' One is under way.' : '';
  const last = since.find((run) => run.state === 'ended');
  if (last === undefined) return `Since then none has ended.${running}`;
  const ended = since.filter((run) => run.state === 'ended');
  const outcomes = [...new Set(ended.map(({ outcome }) => outcome))];
  const counts = outcomes.map((outcome) => {
    const times = ended.filter((run) => run.outcome === outcome).length;
    return `${times} ${outcome}`;
  });
  const why = last.failure === undefined ? '' : ` ${fullStop(last.failure.message)}`;
  return `The newest runs since then: ${counts.join(', ')}. The last ended at ${minuteOf(last.endedAtMs)}: ${last.outcome}.${why}${running}`;
}

/** What a notice is made of. */
export interface Tale {
  readonly id: string;
  /** Empty for the agent itself. */
  readonly job: string;
  readonly host: string;
  readonly nowMs: number;
  readonly aspect: Aspect;
  readonly finding: Finding;
  readonly turn: Turn;
  readonly run: EndedRun | undefined;
  readonly freshness: { readonly expectedMs: number; readonly provenAtMs: number | undefined } | undefined;
}

export function bodyOf(tale: Tale): NoticeBody {
  const { id, job, host, nowMs, aspect, turn, run, freshness } = tale;
  const { standing, was } = turn;
  return {
    version: 1,
    id,
    notice: turn.topic,
    job: job === '' ? null : printable(job),
    host: printable(host),
    at: iso(nowMs),
    message: limited(`${printable(job === '' ? 'ferryd' : job)}: ${sentences(tale)}`),
    about: aspect,
    state: standing.state,
    since: iso(standing.sinceMs),
    was:
      was === undefined
        ? null
        : {
            state: was.state,
            since: iso(was.sinceMs),
            durationMs: Math.max(0, Math.round(nowMs - was.sinceMs)),
            message: was.message,
          },
    run: run?.run === undefined ? null : runPart(run.run, run),
    freshness:
      freshness === undefined
        ? null
        : {
            expectedMs: freshness.expectedMs,
            provenAt: freshness.provenAtMs === undefined ? null : iso(freshness.provenAtMs),
          },
  };
}

function runPart(number: number, { outcome, tally, durationMs, failure }: EndedRun): NoticeBody['run'] {
  return {
    number,
    outcome,
    durationMs: Math.round(durationMs),
    ...tally,
    failure:
      failure === undefined
        ? null
        : { kind: failure.kind, code: printable(failure.code), message: limited(failure.message) },
  };
}

function sentences({ job, nowMs, aspect, finding, turn, run }: Tale): string {
  if (turn.topic === 'recovery') {
    const forMs = turn.was === undefined ? 0 : nowMs - turn.was.sinceMs;
    const before =
      turn.was === undefined || turn.was.message === '' ? '' : ` What was wrong: ${turn.was.message}`;
    return `${WELL_AGAIN[aspect]}, after ${formatDuration(forMs)}.${before}`;
  }
  if (aspect === 'run' && run !== undefined) {
    const told = `${runSentence({ ...run, failure: undefined })} ${finding.message}`;
    return run.run === undefined ? `no run could begin. ${finding.message}` : told;
  }
  if (aspect === 'configuration') {
    const what =
      job === '' ? 'its own files cannot be read as they are' : 'the job cannot be loaded as it is';
    return `${what}. ${finding.message}`;
  }
  return finding.message;
}

const WELL_AGAIN: Readonly<Record<Aspect, string>> = {
  run: 'well again, a run has ended ok',
  freshness: 'no longer overdue',
  configuration: 'its configuration is good again',
};

/** `2026-11-23 02:30 UTC`: whoever reads it may sit in another time zone than the machine. */
export function minuteOf(atMs: number): string {
  return `${iso(atMs).slice(0, 16).replace('T', ' ')} UTC`;
}

/** What a Date can hold; a time outside of that is a broken ledger's. */
function iso(atMs: number): string {
  const date = new Date(atMs);
  return Number.isNaN(date.getTime()) ? new Date(0).toISOString() : date.toISOString();
}

/** The text as it may be told: on one line, printable, and bounded. */
export function limited(text: string): string {
  const shown = fullStop(printable(text.trim().replaceAll(/\s*\n\s*/g, ' ')));
  return shown.length > LONGEST_MESSAGE ? `${shown.slice(0, LONGEST_MESSAGE - 3)}...` : shown;
}
