/*
 * What the crew works on: one file's journey through a run, its attempts counted. A task is made from an
 * action of the plan, or from an intent that an earlier run left open.
 */
import type { Intent } from '../ledger/record.js';
import type { Part } from '../local/sink.js';
import type { Baseline, LocalFile, RelativePath, RemoteFile } from '../plan/entry.js';

interface Tried {
  readonly path: RelativePath;
  /** Counted from 1. */
  readonly attempt: number;
}

export interface UploadTask extends Tried {
  readonly kind: 'upload';
  readonly file: LocalFile;
  readonly temporary: RelativePath;
  /**
   * What may lie under the temporary name: `nothing` was sent yet, or `something` was, and before it is sent
   * again the remote is asked whether it is whole.
   */
  readonly sent: 'nothing' | 'something';
}

export interface ExamineTask extends Tried {
  readonly kind: 'examine';
  readonly file: LocalFile;
  readonly baseline: Baseline;
}

export interface DownloadTask extends Tried {
  readonly kind: 'download';
  readonly file: RemoteFile;
  readonly temporary: RelativePath;
  readonly baseline: Baseline | undefined;
  /** What an attempt that broke off has left under the temporary name. */
  readonly part: Part | undefined;
}

export interface RecoverTask extends Tried {
  readonly kind: 'recover';
  readonly intent: Intent;
}

export type Task = UploadTask | ExamineTask | DownloadTask | RecoverTask;
