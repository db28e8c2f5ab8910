/*
 * Words of servers and agents, made harmless for a log and a terminal: nothing that moves the cursor, recolours,
 * reorders or hides, no secret that they repeat, and never more than a line of it.
 */

const LONGEST_TEXT = 300;

/**
 * The same text with every invisible character as `?` (line breaks as ` / `), cut at 300 characters.
 *
 * @param secrets what it must not show; `****` stands in their place
 */
export function printable(text: string, secrets: readonly string[] = []): string {
  // Before anything is cut, or half a secret would be left.
  const told = secrets
    .filter((secret) => secret !== '')
    .reduce((left, secret) => left.replaceAll(secret, '****'), text);
  const lines = told.slice(0, 4 * LONGEST_TEXT).split(/[\r\n]+/);
  const shown = lines
    .map((line) => line.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '?').trim())
    .filter((line) => line !== '')
    .join(' / ');
  return shown.length > LONGEST_TEXT ? `${shown.slice(0, LONGEST_TEXT)}...` : shown;
}
