/*
 * What `ferryd status` shows of a job, as lines for a person and as JSON. Reads a clock and nothing else.
 */
import type { NextRun } from '../daemon/coverage.js';
import type { JobStanding } from '../daemon/standing.js';
import type { HeldPlan } from '../ledger/deletion.js';
import type { RunRecord, TransferRecord } from '../ledger/record.js';
import type { RememberedSkip } from '../plan/entry.js';
import { printable } from '../report/printable.js';
import { formatDuration, runSentence } from '../report/summary.js';
import type { Coverage } from '../trigger/trigger.js';
import { heldJson, heldSentence } from './held.js';
import { ago, columns, moment } from './table.js';

/** How many skipped files are shown of each job; the rest is counted. */
const SKIPS_SHOWN = 20;

export type LeftBehind = Extract<TransferRecord, { readonly result: 'skipped' | 'failed' }>;

/** How a job stands. */
export interface JobStatus {
  readonly job: string;
  readonly description: string;
  readonly lastRun: RunRecord | undefined;
  /** When a run in which all went well last ended, milliseconds since 1970; undefined where none did. */
  readonly provenAtMs: number | undefined;
  /** Since when the ledger knows the job. */
  readonly knownSinceMs: number | undefined;
  /** How often such a run is expected. */
  readonly freshnessMs: number | undefined;
  /** The first of them first. */
  readonly nextRuns: readonly NextRun[];
  readonly watched: boolean;
  readonly loaded: boolean;
  /** What the daemon says of it; undefined where none runs, or has said nothing yet. */
  readonly daemon: JobStanding | 'not taken' | undefined;
  /** What the guard refused, and waits for a person or for the next run. */
  readonly held: HeldPlan | undefined;
  readonly skips: readonly RememberedSkip[];
  readonly skipCount: number;
  /** What the last run left behind besides: it is tried again by each run. */
  readonly leftBehind: readonly LeftBehind[];
}

/** Some lines for a person, and an empty one. */
export function readable(status: JobStatus, daemonRuns: boolean): string {
  const { lastRun, skips, skipCount } = status;
  const rows: string[][] = [['  last run', lastRunText(lastRun)]];
  if (lastRun?.state === 'ended')
    rows.push(['', runSentence({ ...lastRun, durationMs: lastRun.endedAtMs - lastRun.startedAtMs })]);
  rows.push(...freshnessRows(status), ...daemonRows(status));
  rows.push(['  next run', nextRunText(status, daemonRuns)]);
  if (status.held !== undefined) {
    rows.push([
      '  held',
      printable(`${heldSentence(status.job, status.held, Date.now()).replace(/^held /, '')}.`),
    ]);
  }
  let text = `${status.job}${status.description === '' ? '' : `: ${printable(status.description)}`}\n${columns(rows)}`;
  if (skipCount > 0) {
    text += `  skipped until they change, the settings change, or ferryd run ${status.job} --retry-skipped: ${skipCount}\n`;
    for (const skip of skips) text += `    ${printable(skip.path)}: ${printable(skip.text)}\n`;
    if (skipCount > skips.length) text += `    and ${skipCount - skips.length} more\n`;
  }
  const { leftBehind } = status;
  if (leftBehind.length > 0) {
    text += `  left behind by the last run, and looked at again by the next one: ${leftBehind.length}\n`;
    for (const file of leftBehind.slice(0, SKIPS_SHOWN)) {
      text += `    ${printable(file.path)}: ${printable(file.text)}\n`;
    }
    if (leftBehind.length > SKIPS_SHOWN) text += `    and ${leftBehind.length - SKIPS_SHOWN} more\n`;
  }
  return `${text}\n`;
}

/** When the last good run was, where that is not the last one, or where it is too long ago. */
function freshnessRows(status: JobStatus): string[][] {
  const { provenAtMs, freshnessMs, lastRun } = status;
  const nowMs = Date.now();
  const good = provenAtMs === undefined ? 'never' : `${moment(provenAtMs)} (${ago(provenAtMs, nowMs)})`;
  const lastWasGood = lastRun?.state === 'ended' && lastRun.outcome === 'ok';
  const rows = lastRun === undefined || lastWasGood ? [] : [['  last good run', good]];
  if (freshnessMs !== undefined && isOverdue(status, nowMs)) {
    rows.push([
      '  OVERDUE',
      `a good run is expected every ${formatDuration(freshnessMs)}; the last one: ${good}`,
    ]);
  }
  return rows;
}

function isOverdue({ provenAtMs, knownSinceMs, freshnessMs }: JobStatus, nowMs: number): boolean {
  const sinceMs = provenAtMs ?? knownSinceMs;
  return freshnessMs !== undefined && sinceMs !== undefined && nowMs - sinceMs > freshnessMs;
}

/** What the daemon is doing with it, and how its tree is watched. */
function daemonRows({ daemon, provenAtMs, job }: JobStatus): string[][] {
  if (daemon === undefined) return [];
  if (daemon === 'not taken') return [['  daemon', 'has not taken this job; see its log']];
  const { doing, coverage, stale } = daemon;
  const rows: string[][] = [];
  if (doing.kind === 'running') {
    const more = doing.more ? '; once more after that' : '';
    rows.push(['  now', `running since ${moment(doing.sinceMs)} (${printable(doing.trigger)})${more}`]);
  }
  if (doing.kind === 'queued') {
    rows.push(['  now', `waits for other jobs since ${moment(doing.sinceMs)} (runsAtOnce in agent.yaml)`]);
  }
  if (doing.kind === 'waiting') rows.push(['  waits', printable(doing.message)]);
  if (coverage !== undefined) {
    const proven = provenAtMs === undefined ? 'never' : ago(provenAtMs, Date.now());
    rows.push(['  watched', `${covered(coverage)}; last proven complete: ${proven}`]);
  }
  if (stale !== undefined) {
    rows.push(['  MISTAKE', `its file cannot be loaded, so ${printable(job)} goes on as it was before:`]);
    for (const line of stale.split('\n')) rows.push(['', printable(line)]);
  }
  return rows;
}

function covered({ how, everyMs, sinceMs, message }: Coverage): string {
  const every = everyMs === undefined ? '' : ` every ${formatDuration(everyMs)}`;
  const words = {
    starting: 'the watch is being set up',
    events: 'every change is noticed at once',
    partly: `some changes are noticed at once, all others by a look${every}`,
    polling: `by a look${every}`,
    pausing: 'so much changes that nothing is watched for a moment',
    absent: 'the directory is not there',
  }[how];
  return `${words} (since ${moment(sinceMs)})${message === undefined ? '' : `. ${printable(message).replace(/\.$/, '')}`}`;
}

function lastRunText(run: RunRecord | undefined): string {
  if (run === undefined) return 'never';
  const began = `${moment(run.startedAtMs)} (${ago(run.startedAtMs, Date.now())}), ${run.trigger}`;
  return run.state === 'running' ? `${began}: under way, or its process was killed` : began;
}

function nextRunText(status: JobStatus, daemonRuns: boolean): string {
  if (!status.loaded) {
    const kept = typeof status.daemon === 'object' ? status.daemon.nextRunMs : undefined;
    return kept === undefined ? 'none: its job file is gone or cannot be loaded' : moment(kept);
  }
  const when = [
    ...status.nextRuns.slice(0, 1).map(nextText),
    ...(status.watched ? ['when files change'] : []),
  ].join(', and ');
  if (when === '') return 'by hand only: the job has no trigger';
  return daemonRuns ? when : `${when}, once the daemon is started`;
}

/** When it starts; where jitter puts it off, also what its schedule says. */
function nextText({ atMs, momentMs }: NextRun): string {
  return atMs === momentMs ? moment(atMs) : `${moment(atMs)} (put off from ${moment(momentMs)})`;
}

/** For programs; keys are stable. */
export function toJson(status: JobStatus, daemonPid: number | undefined): object {
  const { lastRun } = status;
  const iso = (ms: number | undefined): string | null =>
    ms === undefined ? null : new Date(ms).toISOString();
  return {
    job: status.job,
    loaded: status.loaded,
    daemon: daemonPid ?? null,
    lastRun:
      lastRun === undefined
        ? null
        : {
            run: lastRun.id,
            trigger: lastRun.trigger,
            startedAt: iso(lastRun.startedAtMs),
            ...(lastRun.state === 'running'
              ? { outcome: 'running' }
              : {
                  endedAt: iso(lastRun.endedAtMs),
                  outcome: lastRun.outcome,
                  ...lastRun.tally,
                  failure: lastRun.failure ?? null,
                }),
          },
    lastGoodRun: iso(status.provenAtMs),
    overdue: isOverdue(status, Date.now()),
    nextRun: iso(status.nextRuns[0]?.atMs),
    nextRuns: status.nextRuns.map(({ trigger, atMs, momentMs }) => ({
      trigger,
      at: iso(atMs),
      scheduled: iso(momentMs),
    })),
    doing: typeof status.daemon === 'object' ? withMoments(status.daemon.doing) : null,
    coverage: typeof status.daemon === 'object' ? withMoments(status.daemon.coverage) : null,
    mistake: typeof status.daemon === 'object' ? (status.daemon.stale ?? null) : null,
    watched: status.watched,
    held: heldJson(status.held),
    skippedFiles: status.skipCount,
    leftBehind: status.leftBehind.map((file) => ({
      path: file.path,
      code: file.code,
      text: file.text,
    })),
    skips: status.skips.map(({ path, code, text, atMs }) => ({ path, code, text, at: iso(atMs) })),
  };
}

/** `sinceMs: 0` becomes `since: "1970-..."`, as everywhere in what programs read. */
function withMoments(value: object | undefined): object | null {
  if (value === undefined) return null;
  const moments = new Map([
    ['sinceMs', 'since'],
    ['untilMs', 'until'],
  ]);
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => {
      const name = moments.get(key);
      return name === undefined ? [key, field] : [name, new Date(Number(field)).toISOString()];
    }),
  );
}
