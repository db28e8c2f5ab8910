/*
 * The plan's vocabulary: what a run would do about one path, and why. Pure.
 */
import type { Baseline, LocalFile, RelativePath, RememberedSkip, RemoteFile } from './entry.js';

/** Why a file is to be moved. */
export type Reason = 'new' | 'changed' | 'tried-again';

/** Something a run has to carry out. */
export type Action =
  | {
      readonly kind: 'upload';
      readonly path: RelativePath;
      readonly file: LocalFile;
      readonly reason: Reason;
    }
  /** Size and time are the old ones, but the file was touched: its content decides. */
  | {
      readonly kind: 'examine';
      readonly path: RelativePath;
      readonly file: LocalFile;
      readonly baseline: Baseline;
    }
  | {
      readonly kind: 'download';
      readonly path: RelativePath;
      readonly file: RemoteFile;
      readonly reason: Reason;
      /** What the local side held when both agreed last; another content there is a person's work. */
      readonly baseline: Baseline | undefined;
    };

/** The judgement on one path. */
export type Verdict =
  | Action
  /** Both sides agree. */
  | { readonly kind: 'unchanged'; readonly path: RelativePath }
  /** Refused before, and nothing has changed since. */
  | { readonly kind: 'remembered'; readonly path: RelativePath; readonly skip: RememberedSkip }
  /** There, and not to go across now: its size, its age, or a marker that it waits for. */
  | { readonly kind: 'left-out'; readonly path: RelativePath }
  /** Gone at the source: a copy deletes nothing. */
  | { readonly kind: 'kept'; readonly path: RelativePath };
