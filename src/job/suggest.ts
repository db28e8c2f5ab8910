/*
 * "Did you mean": the known word nearest to what somebody wrote, or nothing where none is near.
 * Only ever a hint in a message; nothing is corrected silently.
 */
import leven from 'leven';

/**
 * @param aliases words that other programs use for a known one (`source` for `from`); they win over likeness
 * @returns one of `known`, or undefined where nothing is near enough to be worth saying
 */
export function closest(
  word: string,
  known: readonly string[],
  aliases: ReadonlyMap<string, string> = new Map(),
): string | undefined {
  if (word.length > 60) return undefined;
  const plain = simplify(word);
  const alias = aliases.get(plain);
  if (alias !== undefined) return alias;
  const limit = plain.length < 4 ? 1 : plain.length < 8 ? 2 : 3;
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of known) {
    const distance = leven(plain, simplify(candidate), { maxDistance: limit + 1 });
    if (distance < bestDistance && distance < candidate.length) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** `did you mean "x"?` behind a semicolon, or nothing. */
export function didYouMean(suggestion: string | undefined): string {
  return suggestion === undefined ? '' : `; did you mean "${suggestion}"?`;
}

/** Lower case without the separators that people vary. */
export function simplify(word: string): string {
  return word.toLowerCase().replace(/[-_ ]/g, '');
}
