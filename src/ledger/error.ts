/*
 * What can go wrong with the ledger, as sentences for a person: what happened, to which file, what to do next.
 * `judge` is the only place where a SQLite or system error code turns into a kind; whoever catches the error
 * decides by `kind` (protocol.md, failure table, "ledger": BUSY waits, the rest stops the job).
 */
import Database from 'better-sqlite3';

/**
 * - `missing`: opened for reading, and there is no ledger yet
 * - `not-a-ledger`: the file is something else; it was left untouched
 * - `older-schema`: opened for reading, and an earlier ferryd wrote it; the next run or daemon brings it up to date
 * - `newer-schema`: a later ferryd wrote it
 * - `corrupt`: SQLite finds it damaged
 * - `disk`: full disk or failing input and output
 * - `busy`: another process kept it locked for longer than this one waits
 * - `unreadable`: permissions or the path keep this user out
 */
export type LedgerProblem =
  | 'missing'
  | 'not-a-ledger'
  | 'older-schema'
  | 'newer-schema'
  | 'corrupt'
  | 'disk'
  | 'busy'
  | 'unreadable';

/** An error of the ledger. The message is for a person and names the file and the next step. */
export class LedgerError extends Error {
  override readonly name = 'LedgerError';
  readonly kind: LedgerProblem;
  /** SQLite's or the system's code (`SQLITE_FULL`, `EACCES`), or the kind where neither spoke. */
  readonly code: string;

  constructor(kind: LedgerProblem, message: string, because: { code?: string; cause?: unknown } = {}) {
    super(message, { cause: because.cause });
    this.kind = kind;
    this.code = because.code ?? kind;
  }
}

/**
 * Turns an error of SQLite or of the file system into a LedgerError about `file`. Anything else, such as a
 * constraint that our own code broke, comes back as it was: it is a bug and must not read like a full disk.
 */
export function judge(error: unknown, file: string): unknown {
  if (error instanceof LedgerError) return error;
  const code = codeOf(error);
  if (code === undefined) return error;
  const kind = kindOf(code);
  if (kind === undefined) return error;
  return new LedgerError(kind, sentence(kind, { file, code }), {
    code,
    cause: error,
  });
}

/** The sentence about a damaged ledger; `finding` is what SQLite says of the damage. */
export function damaged(file: string, finding: string): LedgerError {
  return new LedgerError(
    'corrupt',
    `The ledger ${file} is damaged (${finding}). It was left as it is. The next run, or the daemon when it starts, ` +
      'puts it aside under another name and begins a new one; then both sides are looked at, and nothing is deleted ' +
      'that you have not approved.',
    { cause: new Error(finding) },
  );
}

function codeOf(error: unknown): string | undefined {
  if (error instanceof Database.SqliteError) return error.code;
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

function kindOf(code: string): LedgerProblem | undefined {
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EIO':
    case 'EMFILE':
    case 'ENFILE':
      return 'disk';
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'ENOTDIR':
    case 'ELOOP':
    case 'ENAMETOOLONG':
    case 'EEXIST':
    case 'ENOENT':
      return 'unreadable';
  }
  // Extended codes read SQLITE_IOERR_WRITE; the part before the second underscore is what decides.
  switch (/^SQLITE_[A-Z]+/.exec(code)?.[0]) {
    case 'SQLITE_FULL':
    case 'SQLITE_IOERR':
    case 'SQLITE_NOLFS':
      return 'disk';
    case 'SQLITE_CORRUPT':
      return 'corrupt';
    case 'SQLITE_NOTADB':
      return 'not-a-ledger';
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
    case 'SQLITE_PROTOCOL':
      return 'busy';
    case 'SQLITE_CANTOPEN':
    case 'SQLITE_READONLY':
    case 'SQLITE_PERM':
    case 'SQLITE_AUTH':
      return 'unreadable';
    default:
      return undefined;
  }
}

function sentence(
  kind: LedgerProblem,
  { file, code }: { readonly file: string; readonly code: string },
): string {
  switch (kind) {
    case 'disk':
      return /FULL|ENOSPC|EDQUOT/.test(code)
        ? `The disk under the ledger ${file} is full (${code}). Free some space and run again: what the ledger ` +
            'holds is kept.'
        : `The disk under the ledger ${file} fails (${code}). Check the disk and the system's log before the next run.`;
    case 'corrupt':
      return damaged(file, code).message;
    case 'not-a-ledger':
      return (
        `The file ${file} is not a ferryd ledger: it is no SQLite database (${code}). It was left untouched. ` +
        'Name another file with --ledger, or move this one aside.'
      );
    case 'busy':
      return (
        `Another process keeps the ledger ${file} locked (${code}). ` +
        'Wait until it has finished, or end it, then run again.'
      );
    case 'unreadable':
      return (
        `The ledger ${file} cannot be opened or written (${code}). Run ferryd as the user who owns it, check the ` +
        'permissions of the file and its directory, or name another file with --ledger.'
      );
    case 'missing':
    case 'older-schema':
    case 'newer-schema':
      return `The ledger ${file} cannot be used (${code}).`;
  }
}
