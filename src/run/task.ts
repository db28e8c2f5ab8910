/*
 * What the crew works on: one path's journey through a run, its attempts counted. A task is made from an action of
 * the plan, from a planned deletion, or from an intent that an earlier run left open.
 */
import type { PlannedDeletion } from '../ledger/deletion.js';
import type { Intent } from '../ledger/record.js';
import type { Part } from '../local/sink.js';
import type { Action, Download, LinkTransfer, Upload } from '../plan/action.js';
import type { LocalFile, RelativePath, RemoteFile } from '../plan/entry.js';

interface Tried {
  readonly path: RelativePath;
  /** Counted from 1. */
  readonly attempt: number;
}

export interface UploadTask extends Tried {
  readonly kind: 'upload';
  readonly action: Upload<LocalFile>;
  /** As it was looked at last. */
  readonly file: LocalFile;
  readonly temporary: RelativePath;
  /**
   * What may lie under the temporary name: `nothing` was sent yet, or `something` was, and before it is sent
   * again the remote is asked whether it is whole.
   */
  readonly sent: 'nothing' | 'something';
}

export interface DownloadTask extends Tried {
  readonly kind: 'download';
  readonly action: Download<RemoteFile>;
  readonly temporary: RelativePath;
  /** What an attempt that broke off has left under the temporary name. */
  readonly part: Part | undefined;
}

/** A link that goes across, in whichever direction. */
export interface LinkTask extends Tried {
  readonly kind: 'link';
  readonly action: LinkTransfer;
  readonly temporary: RelativePath;
}

export interface RecoverTask extends Tried {
  readonly kind: 'recover';
  readonly intent: Intent;
}

export interface RemoveTask extends Tried {
  readonly kind: 'remove';
  readonly deletion: PlannedDeletion;
}

type Plain = Extract<Action, { kind: 'examine' | 'meet' | 'finish' | 'set-aside' | 'make-directory' }>;

/** An action that needs no more than itself. */
export interface PlainTask<Kind extends Plain['kind'] = Plain['kind']> extends Tried {
  readonly kind: Kind;
  readonly action: Extract<Plain, { kind: Kind }>;
}

export type Task =
  | UploadTask
  | DownloadTask
  | LinkTask
  | RecoverTask
  | RemoveTask
  | PlainTask<'examine'>
  | PlainTask<'meet'>
  | PlainTask<'finish'>
  | PlainTask<'set-aside'>
  | PlainTask<'make-directory'>;

/** A transfer: its temporary name is written down before it begins. */
export type Transfer = UploadTask | DownloadTask | LinkTask;

export function isTransfer(task: Task): task is Transfer {
  return task.kind === 'upload' || task.kind === 'download' || task.kind === 'link';
}
