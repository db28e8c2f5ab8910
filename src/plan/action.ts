/*
 * The plan's vocabulary: what a run would do about one path, and why. Pure. `path` is the name under which the ledger
 * knows it; `here` and `there` are where it stands on the local side and on the remote, mostly the same.
 */
import type {
  Baseline,
  LinkEntry,
  LocalFile,
  LocalPiece,
  RelativePath,
  RememberedSkip,
  RemoteFile,
  RemotePiece,
} from './entry.js';

/**
 * Why a file is to be moved.
 * - `differs`: the other side holds something else than what was put there
 * - `missing`: the other side has lost it
 * - `conflict`: both sides have changed it, and this one wins
 */
export type Reason = 'new' | 'changed' | 'differs' | 'missing' | 'conflict' | 'tried-again';

export type SideName = 'local' | 'remote';

/** Where one path stands on both sides. */
export interface Places {
  readonly here: RelativePath;
  readonly there: RelativePath;
}

/** What reading has shown: each side against what both agreed on, or against the other where they never did. */
export interface Content {
  readonly local: 'same' | 'changed';
  /** What was not read counts as its size and time say. */
  readonly remote: 'same' | 'changed';
}

/** The judgement on the same path with that knowledge. */
export type Decide = (content: Content) => Verdict;

interface At extends Places {
  readonly path: RelativePath;
  readonly baseline: Baseline | undefined;
}

/** Where something is in the way that is to be deleted: it has to go first. */
interface Later {
  readonly after?: 'deletions' | undefined;
}

/** Of a file, or of a link that stays one. */
export interface Upload<Piece extends LocalPiece = LocalPiece> extends At, Later {
  readonly kind: 'upload';
  readonly file: Piece;
  readonly reason: Reason;
}

/** As an upload. */
export interface Download<Piece extends RemotePiece = RemotePiece> extends At, Later {
  readonly kind: 'download';
  readonly file: Piece;
  readonly reason: Reason;
  /** What may stand in its place here: only what was put there or is the same, or whatever the planner saw. */
  readonly over: 'ours' | 'seen';
  /** What the planner saw in its place; undefined where that was nothing, or nobody looked. */
  readonly seen: LocalPiece | undefined;
}

/** What carries a link across. */
export type LinkTransfer = Upload<LinkEntry> | Download<LinkEntry>;

/** Something is deleted on one side; both sights are complete where it lies, or are made so before. */
export interface Removal {
  readonly kind: 'remove';
  readonly path: RelativePath;
  readonly side: SideName;
  /** Where it stands on that side. A directory's path ends with `/`. */
  readonly at: RelativePath;
  /** `ours`: ferryd put it there. `extraneous`: it did not, and the job asks for it to be deleted all the same. */
  readonly known: 'ours' | 'extraneous';
  /** As which it is to be deleted: what is another file by then stays. */
  readonly sizeBytes: number;
  readonly modifiedMs: number | undefined;
  /** The text of a link; undefined of all else. */
  readonly leadsTo?: string | undefined;
  readonly baseline: Baseline | undefined;
}

/** Both sides have it, and as far as is known they agree. `trusted`: size and time, or a link's text, prove it. */
export type Meet = At & {
  readonly kind: 'meet';
  readonly decide: Decide;
} & (
    | { readonly proof: 'trusted'; readonly local: LocalPiece; readonly remote: RemotePiece }
    /** The content decides. */
    | { readonly proof: 'compared'; readonly local: LocalFile; readonly remote: RemoteFile }
  );

/** Something a run has to carry out. */
export type Action =
  | Upload
  | Download
  /** Touched here, or to be proven by content: what it holds decides, and `decide` says how. */
  | (At & {
      readonly kind: 'examine';
      readonly file: LocalFile;
      readonly baseline: Baseline;
      /** Undefined: only what is here is read. Else what the remote holds is compared as well. */
      readonly remote: RemoteFile | undefined;
      readonly decide: Decide;
    })
  | Meet
  /** The last step of a move: the source's file goes, as soon as it is sure that the target holds it. */
  | (At & {
      readonly kind: 'finish';
      readonly side: SideName;
      readonly baseline: Baseline;
      /** What stands at the source. */
      readonly local: LocalPiece | undefined;
      readonly remote: RemotePiece | undefined;
    })
  | Removal
  /** The loser of a conflict gets another name on its own side; under that name it is a new file. */
  | (Places & {
      readonly kind: 'set-aside';
      readonly path: RelativePath;
      readonly side: SideName;
      readonly local: LocalPiece;
      readonly remote: RemotePiece;
    })
  | (Places &
      Later & { readonly kind: 'make-directory'; readonly path: RelativePath; readonly side: SideName });

/** The judgement on one path. */
export type Verdict =
  | Action
  /** Both sides agree. `learnt`: and the ledger can be told more than it knew. */
  | { readonly kind: 'unchanged'; readonly path: RelativePath; readonly learnt?: Baseline | undefined }
  /** Refused before, and nothing has changed since. */
  | { readonly kind: 'remembered'; readonly path: RelativePath; readonly skip: RememberedSkip }
  /** There, and not to go across now: its size, its age, a marker that it waits for, its name. */
  | { readonly kind: 'left-out'; readonly path: RelativePath }
  /** Gone at the source, and stays at the target; or there at the target alone. */
  | { readonly kind: 'kept'; readonly path: RelativePath }
  /** It was put there by ferryd, is gone at the source, and was changed at the target since: it is not deleted. */
  | { readonly kind: 'spared'; readonly path: RelativePath; readonly side: SideName }
  /** It should travel, and the target holds what is not ours, or cannot be seen. */
  | {
      readonly kind: 'blocked';
      readonly path: RelativePath;
      readonly why: 'differs' | 'unreadable' | 'foreign';
      readonly side: SideName;
    }
  /** Gone on both sides. */
  | { readonly kind: 'forget'; readonly path: RelativePath };
