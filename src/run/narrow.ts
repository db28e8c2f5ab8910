/*
 * The narrow run: where a watch can tell what has changed, only that is looked at, so that the work does not grow with
 * the tree. It sends and replaces, and takes nothing away: a thing that is gone, for which the guard has to see the
 * whole, a skip, a file in a directory's place, and whatever else is out of the common, make it a run over everything
 * before it has done anything. Only the run after a good one may be narrow, so its `ok` says the same as any other.
 */
import type { Job } from '../job/job.js';
import type { LedgerReader } from '../ledger/reader.js';
import type { RunRecord } from '../ledger/record.js';
import { IGNORE_FILE } from '../local/ignore.js';
import type { Verdict } from '../plan/action.js';
import type { Memory, RunContext } from './context.js';
import { looksAt } from './scan.js';
import { Scope } from './scope.js';
import type { Finding, OnFinding } from './sights.js';

/** What is known when a run begins to look. */
export interface Outset {
  readonly job: Job;
  readonly context: Pick<RunContext, 'only' | 'skipped'> & {
    readonly ledger: Pick<LedgerReader, 'provenAtMs'>;
  };
  readonly binding: number;
  readonly memory: Memory;
  /** Milliseconds since 1970. */
  readonly startedAtMs: number;
  /** The run before. */
  readonly last: RunRecord | undefined;
  /** Whether an earlier run has left something in the middle. */
  readonly left: 'nothing' | 'something';
}

/**
 * The part of the tree that a run has to look at, which begins to look now.
 *
 * @returns undefined where it has to be everything
 */
export function scopeOf(outset: Outset, onScan: RunContext['onScan']): Scope | undefined {
  const isEnough = isFitFor(outset.job) && followsGoodRun(outset) && isProvenLately(outset);
  const least = isEnough ? 'places' : 'everything';
  const places = onScan?.(least);
  if (least === 'everything' || places === undefined) return undefined;
  // What it leaves out lies around it.
  const concernsMore = (place: string): boolean => place.slice(place.lastIndexOf('/') + 1) === IGNORE_FILE;
  return [...places].some(concernsMore) ? undefined : new Scope(places);
}

/** True where each path can be judged by itself, and only what an event has told of can want another verdict. */
function isFitFor(job: Job): boolean {
  const { mode, links, ready, age, before } = job;
  const ledgerKnowsTarget = looksAt(job).local && !looksAt(job).remote;
  const isPlain = mode === 'copy' || mode === 'mirror';
  // A link shows one file at two places, a marker tells of another file, ages change by themselves, hooks make files.
  const changesElsewhere =
    links === 'follow' ||
    ready !== undefined ||
    age.minMs !== undefined ||
    age.maxMs !== undefined ||
    before !== undefined;
  return ledgerKnowsTarget && isPlain && !changesElsewhere;
}

/** What was left open then would not be made good by a look at something else, and must not be called well. */
function followsGoodRun({ context, binding, memory, last, left }: Outset): boolean {
  if (context.only !== undefined || context.skipped !== undefined) return false;
  if (memory !== 'settled' || left === 'something') return false;
  return last?.state === 'ended' && last.outcome === 'ok' && last.bindingId === binding;
}

/** A narrow run proves nothing: where a person is told when nothing does, a run over everything comes in time. */
function isProvenLately({ job, context, startedAtMs }: Outset): boolean {
  const { freshnessMs } = job.expect;
  if (freshnessMs === undefined) return true;
  const provenMs = context.ledger.provenAtMs(job.name) ?? Number.NEGATIVE_INFINITY;
  return provenMs <= startedAtMs && startedAtMs < provenMs + freshnessMs / 2;
}

/** What was found at the places: verdicts in the order of the paths, and what is left out on purpose. */
export interface Found {
  readonly verdicts: readonly Verdict[];
  readonly findings: readonly Finding[];
}

/** With more entries than these a look at everything costs little more. */
const MANY_ENTRIES = 1_000;

/**
 * Looks at the places and changes nothing.
 *
 * @param scan begins a scan of them
 * @returns undefined where everything has to be looked at
 */
export async function lookAround(
  scan: (onFinding: OnFinding) => AsyncIterable<readonly Verdict[]>,
): Promise<Found | undefined> {
  const verdicts: Verdict[] = [];
  const findings: Finding[] = [];
  for await (const some of scan((finding) => findings.push(finding))) {
    verdicts.push(...some);
    const isTooMuch = verdicts.length + findings.length > MANY_ENTRIES;
    if (isTooMuch || !some.every(isPlain)) return undefined;
  }
  return findings.every(({ kind }) => kind === 'ignored') ? { verdicts, findings } : undefined;
}

function isPlain(verdict: Verdict): boolean {
  switch (verdict.kind) {
    case 'upload':
    case 'make-directory':
      return verdict.after !== 'deletions';
    case 'examine':
    case 'unchanged':
    case 'left-out':
      return true;
    default:
      return false;
  }
}
