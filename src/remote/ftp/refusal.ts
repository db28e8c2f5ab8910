/*
 * What a server's no says about a feature of FTP: asked of errors by whoever has another way. What it means for a file
 * or a run is failure.ts's to say.
 */
import { FtpError } from '../../ftp/errors.js';
import { judge } from '../failure.js';

/** The server's word that what was to be renamed lies on another file system than where it was to go. */
export function isAcrossDevices(error: unknown): boolean {
  if (!(error instanceof FtpError)) return false;
  return (
    ['RNFR', 'RNTO'].includes(error.verb ?? '') &&
    /\bcross.?device\b|\bEXDEV\b|\b(different|other|another|same) (disk|drive|device|volume|file ?system)\b/i.test(
      error.reply?.lines.join(' ') ?? '',
    )
  );
}

/** The server's way to say that there is no such file (550; 450 on some). */
export function isMissing(error: unknown): boolean {
  return error instanceof FtpError && (error.reply?.code === 550 || error.reply?.code === 450);
}

/** The words say that there is nothing to list, and not that it may not be listed (550 and 450 are said of both). */
export function saysEmpty(error: unknown): boolean {
  const words = error instanceof FtpError ? (error.reply?.lines.join(' ') ?? '') : '';
  return /\bempty\b|\bno (such )?(files?|entries|members?|data ?sets?|match\w*)\b|\bnot found\b/i.test(words);
}

/** The file that was just stored is not there. */
export function isMissingSize(error: unknown): boolean {
  return error instanceof FtpError && error.verb === 'SIZE' && isMissing(error);
}

/** The server has no SIZE. */
export function lacksSize(error: unknown): boolean {
  return (
    error instanceof FtpError &&
    error.verb === 'SIZE' &&
    error.reply?.code !== 550 &&
    judge(error).decision === 'fallback'
  );
}

/** The server cannot rename at all. */
export function lacksRename(error: unknown): boolean {
  return (
    error instanceof FtpError &&
    ['RNFR', 'RNTO'].includes(error.verb ?? '') &&
    [500, 502, 504].includes(error.reply?.code ?? 0)
  );
}

/** The server does not let this file be renamed, or does not have it; not where it is in use for now. */
export function forbidsRename(error: unknown): boolean {
  return (
    error instanceof FtpError &&
    error.verb === 'RNFR' &&
    [550, 553].includes(error.reply?.code ?? 0) &&
    judge(error).decision === 'skip'
  );
}

/** The server has no REST, not for this command, or not at this place (451 and 501; 554 and 555). */
export function lacksResume(error: unknown): boolean {
  if (!(error instanceof FtpError) || error.kind !== 'reply') return false;
  if (error.verb === 'REST') return judge(error).decision === 'fallback' || error.reply?.code === 554;
  return [451, 500, 501, 502, 504, 554, 555].includes(error.reply?.code ?? 0);
}
