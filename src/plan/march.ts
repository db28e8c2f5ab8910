/*
 * The march: two streams in the order of comparePaths, walked side by side like a merge join, so that memory
 * stays flat however many paths there are. Pure: it reads what it is given and knows no source.
 */
import { comparePaths, type Known, type RelativePath } from './entry.js';

/** One path, as seen from the scan and from the ledger; at least one of them is there. */
export interface Pair<Item> {
  readonly path: RelativePath;
  readonly item: Item | undefined;
  readonly known: Known | undefined;
}

/** Pairs a scan with the ledger's rows. Both must come in order, each path once. */
export async function* march<Item extends { readonly path: RelativePath }>(
  scan: AsyncIterable<Item>,
  ledger: Iterator<Known>,
): AsyncGenerator<Pair<Item>> {
  let known = ledger.next();
  for await (const item of scan) {
    while (known.done !== true && comparePaths(known.value.path, item.path) < 0) {
      yield { path: known.value.path, item: undefined, known: known.value };
      known = ledger.next();
    }
    if (known.done !== true && known.value.path === item.path) {
      yield { path: item.path, item, known: known.value };
      known = ledger.next();
    } else {
      yield { path: item.path, item, known: undefined };
    }
  }
  for (; known.done !== true; known = ledger.next()) {
    yield { path: known.value.path, item: undefined, known: known.value };
  }
}
