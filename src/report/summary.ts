/*
 * How a run is told to people and to programs: one JSON line for `run --json`, one sentence for everything else,
 * and the sizes and durations in both. Pure text; it prints nothing and reads no clock.
 */
import type { Outcome, RunFailure, Tally } from '../plan/outcome.js';
import { printable } from './printable.js';

/** A run that has ended. */
export interface RunSummary {
  readonly job: string;
  /** Its number in the ledger; undefined where it never began. */
  readonly run: number | undefined;
  readonly outcome: Outcome;
  readonly tally: Readonly<Tally>;
  /** How many places of the tree it looked at; undefined where it was everything. */
  readonly places?: number | undefined;
  readonly durationMs: number;
  readonly failure: RunFailure | undefined;
}

const SIZE_UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** One line of JSON, without the line's end: always the same keys in the same order, `failure` null where all went well. */
export function runLine(run: RunSummary): string {
  const { tally, failure } = run;
  return JSON.stringify({
    job: printable(run.job),
    run: run.run ?? null,
    outcome: run.outcome,
    uploaded: tally.uploaded,
    downloaded: tally.downloaded,
    deleted: tally.deleted,
    renamed: tally.renamed,
    skipped: tally.skipped,
    unchanged: tally.unchanged,
    bytes: tally.bytes,
    durationMs: Math.round(run.durationMs),
    failure:
      failure === undefined
        ? null
        : { kind: failure.kind, code: printable(failure.code), message: printable(failure.message) },
  });
}

/** `nightly-backup: ok, 3 uploaded (4.2 MiB), 997 unchanged, in 12 s.` */
export function summaryLine(run: RunSummary): string {
  return `${printable(run.job)}: ${runSentence(run)}`;
}

/** The summary without the job: what was done, how long it took, and why it did not end well. */
export function runSentence(run: Omit<RunSummary, 'job' | 'run'>): string {
  const parts = [
    outcomeWords(run.outcome),
    ...doneWords(run.tally),
    ...extentWords(run.places),
    `in ${formatDuration(run.durationMs)}`,
  ];
  const told = `${parts.join(', ')}.`;
  return run.failure === undefined ? told : `${told} ${fullStop(printable(run.failure.message))}`;
}

/** `0 B`, `1023 B`, `1.5 KiB`, `120 MiB`: three digits at most, binary units. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${Math.max(0, Math.round(bytes))} B`;
  let value = bytes / 1024;
  let unit = 0;
  // 1023.5 would be shown as 1024, which is 1.0 of the next unit.
  while (value >= 1023.5 && unit < SIZE_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${SIZE_UNITS[unit]}`;
}

/** `0 ms`, `850 ms`, `1.2 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function formatDuration(durationMs: number): string {
  const ms = Math.max(0, Math.round(durationMs));
  if (ms < SECOND_MS) return `${ms} ms`;
  // Rounded first to what will be shown, so that no unit reads 60.
  const tenths = Math.round(ms / 100) * 100;
  if (tenths < 10 * SECOND_MS) return `${(tenths / SECOND_MS).toFixed(1)} s`;
  const seconds = Math.round(ms / SECOND_MS) * SECOND_MS;
  if (seconds < MINUTE_MS) return `${seconds / SECOND_MS} s`;
  if (seconds < HOUR_MS) return two(seconds, MINUTE_MS, 'min', SECOND_MS, 's');
  const minutes = Math.round(ms / MINUTE_MS) * MINUTE_MS;
  if (minutes < DAY_MS) return two(minutes, HOUR_MS, 'h', MINUTE_MS, 'min');
  return two(Math.round(ms / HOUR_MS) * HOUR_MS, DAY_MS, 'd', HOUR_MS, 'h');
}

/** The text with a full stop at its end, where it has no such mark yet. */
export function fullStop(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function two(ms: number, bigMs: number, big: string, smallMs: number, small: string): string {
  const rest = Math.round((ms % bigMs) / smallMs);
  const whole = `${Math.floor(ms / bigMs)} ${big}`;
  return rest === 0 ? whole : `${whole} ${rest} ${small}`;
}

function outcomeWords(outcome: Outcome): string {
  switch (outcome) {
    case 'ok':
      return 'ok';
    case 'partial':
      return 'partial';
    case 'failed':
      return 'failed';
    case 'held':
      return 'held by the guard';
    case 'interrupted':
      return 'interrupted';
  }
}

function extentWords(places: number | undefined): string[] {
  if (places === undefined) return [];
  return [`${places} ${places === 1 ? 'place' : 'places'} of the tree looked at`];
}

/** What moved; where nothing did, that it did not. */
function doneWords(tally: Readonly<Tally>): string[] {
  const counts: ReadonlyArray<readonly [number, string]> = [
    [tally.uploaded, 'uploaded'],
    [tally.downloaded, 'downloaded'],
    [tally.deleted, 'deleted'],
    [tally.renamed, 'renamed'],
    [tally.skipped, 'skipped'],
    [tally.unchanged, 'unchanged'],
  ];
  const words = counts.filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`);
  if (words.length === 0) return ['no files'];
  return tally.bytes > 0 ? [...words, formatBytes(tally.bytes)] : words;
}
