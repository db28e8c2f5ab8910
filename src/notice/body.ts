/*
 * What a notice says: one object, which a webhook gets as JSON, a command on its standard input, and a mail as text.
 * Its shape is public and told in jobs/README.md: keys are added, never renamed or taken away, within one `version`.
 * Every text in it has passed `printable`; it holds no secret.
 */
import type { Topic } from '../job/job.js';
import type { FailureKind, Outcome } from '../plan/outcome.js';
import type { Aspect } from './store.js';

/** How long a text in a notice may be, in characters. */
export const LONGEST_MESSAGE = 2_000;

/** One notice. All times are ISO 8601 in UTC; what does not apply is null. */
export interface NoticeBody {
  readonly version: 1;
  /** The same at each attempt to send it and in each channel. */
  readonly id: string;
  readonly notice: Topic;
  /** Null where it is about the agent's own files. */
  readonly job: string | null;
  /** The name of this machine. */
  readonly host: string;
  readonly at: string;
  /** Sentences for a person. */
  readonly message: string;
  /** What the notice is about: one job can be well in one aspect and ill in another. */
  readonly about: Aspect;
  /** `ok`, `partial`, `held`, `failed:KIND`; `fresh`, `overdue`; `good`, `broken`. */
  readonly state: string;
  /** Since when it has not been well, and of a recovery since when it is. */
  readonly since: string;
  /** Of a recovery: what was wrong. */
  readonly was: {
    readonly state: string;
    readonly since: string;
    readonly durationMs: number;
    readonly message: string;
  } | null;
  /** The run by which it was found. */
  readonly run: {
    readonly number: number;
    readonly outcome: Outcome;
    readonly durationMs: number;
    readonly uploaded: number;
    readonly downloaded: number;
    readonly deleted: number;
    readonly renamed: number;
    readonly skipped: number;
    readonly unchanged: number;
    readonly bytes: number;
    readonly failure: {
      readonly kind: FailureKind;
      readonly code: string;
      readonly message: string;
    } | null;
  } | null;
  /** Of the aspect `freshness`. */
  readonly freshness: {
    readonly expectedMs: number;
    /** When a run last ended ok; null where none ever did. */
    readonly provenAt: string | null;
  } | null;
}

/** What was written down; undefined where it was not by a ferryd that knows this shape. */
export function readBody(json: string): NoticeBody | undefined {
  const found: unknown = JSON.parse(json);
  return isBody(found) ? found : undefined;
}

function isBody(found: unknown): found is NoticeBody {
  if (typeof found !== 'object' || found === null) return false;
  const fields = new Map<string, unknown>(Object.entries(found));
  const texts = ['id', 'notice', 'host', 'at', 'message', 'about', 'state', 'since'];
  return (
    fields.get('version') === 1 &&
    texts.every((key) => typeof fields.get(key) === 'string') &&
    ['job', 'was', 'run', 'freshness'].every((key) => fields.has(key))
  );
}
