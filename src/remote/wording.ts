/*
 * What servers' own words tell beyond their codes, in English as they are written. Whole words: "blocked" is not
 * "locked", and the paths are taken out before these are tried.
 */

export const TOO_MANY = /\btoo many\b|\bmaximum\b|\blimit\b|\btemporar|\btry (again )?later\b|\bbusy\b/i;
export const FULL = /\bquota\b|\b(no|not enough|insufficient|out of) .*space\b|\bfull\b|\bexceed(s|ed)?\b/i;
export const IN_USE = /\b(in use|being used|(file|is) lock(ed)?|locked|timed? ?out|too many|busy)\b/i;

/** What the server says, without the paths and quotations in it: a file may be called `quota full`. */
export function sayingOf(lines: readonly string[]): string {
  return lines
    .map((line) => line.replace(/(?<=\s)\/[^:]*:(?=\s)/g, ' '))
    .join(' ')
    .replace(/"[^"]*"|'[^']*'|\S*[/\\]\S*/g, ' ');
}
