/*
 * What the walk of the local tree comes upon. Each sight has its place in the order of comparePaths, and a directory's
 * path ends with `/` wherever one is told, so that sights can be held against a ledger or a listing as they come.
 */
import type { LinkEntry, LocalFile, RelativePath } from '../plan/entry.js';
import { codeOf, localSentence } from './error.js';

/**
 * In what an entry differs from another one of its directory that a place may take for the same: only in case, only
 * in the Unicode form of its letters, or, among several of them, in both.
 */
export type Twin = 'case' | 'form' | 'both';

/**
 * Something that a person is told of. Of whatever kind: what lies at its path and below is not known from here, for a
 * link may lead to a directory that was walked before.
 */
export type Remark =
  /** Known, and left out: a link. */
  | { readonly kind: 'ignored'; readonly path: RelativePath; readonly message: string }
  /** Not a file that can be sent: its name or its kind. */
  | {
      readonly kind: 'unfit';
      readonly path: RelativePath;
      readonly code: string;
      readonly message: string;
    }
  /** Not readable: what stands here, and below it, is not known. `''` is the root. */
  | {
      readonly kind: 'unreadable';
      readonly path: RelativePath;
      readonly code: string;
      readonly message: string;
    };

/** What the walk came upon. */
export type Sight =
  | { readonly kind: 'file'; readonly file: LocalFile; readonly twin?: Twin }
  /** One that stays what it is. */
  | { readonly kind: 'link'; readonly link: LinkEntry; readonly twin?: Twin }
  /** One that can be read; told before what lies in it. Its path ends with `/`. */
  | { readonly kind: 'directory'; readonly path: RelativePath; readonly twin?: Twin }
  | Remark;

export function unreadable(path: RelativePath, error: unknown): Remark {
  const code = codeOf(error);
  const shown = path.endsWith('/') ? path.slice(0, -1) : path;
  return {
    kind: 'unreadable',
    path,
    code,
    message: localSentence(code, shown === '' ? 'the directory' : shown),
  };
}
