/*
 * The ledger's daily care, as the daemon and `ferryd run` ask for it: history goes after its time, freed pages go back
 * to the disk, the write-ahead log is cut short. Once a day at the most, whoever comes first. Never a reason for
 * anything else to fail: what goes wrong is told, and tried again the next day.
 */
import { LedgerError } from '../ledger/error.js';
import type { Ledger } from '../ledger/ledger.js';
import type { Listener } from '../report/event.js';
import { formatBytes } from '../report/summary.js';

/** How often it is worth looking. */
export const TEND_EVERY_MS = 24 * 3_600_000;

/** Its name in the ledger. */
const TASK = 'tend';

export interface TendOptions {
  readonly ledger: Ledger;
  readonly listener: Listener;
  /** How long runs stay in the history, in milliseconds. */
  readonly keepMs: number;
  /** How long it may take; what is left is done the next time. */
  readonly maxMs: number;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  readonly stop?: AbortSignal | undefined;
}

/**
 * When the ledger's care is due next, in milliseconds since 1970: at once where it never was done. A clock that has
 * jumped back does not put it off for longer than a day.
 */
export function tendDueMs(ledger: Ledger, nowMs: number): number {
  const doneMs = ledger.care.doneAtMs(TASK);
  return doneMs === undefined ? nowMs : Math.min(doneMs, nowMs) + TEND_EVERY_MS;
}

/** Takes care of the ledger where that is due. Never throws for what is wrong with the ledger or its disk. */
export async function tendWhenDue(options: TendOptions): Promise<'tended' | 'not-due' | 'failed'> {
  const { ledger, listener, keepMs, maxMs, nowMs, stop } = options;
  try {
    if (tendDueMs(ledger, nowMs) > nowMs) return 'not-due';
    const { care } = ledger;
    const beganMs = performance.now();
    const gone = await care.prune({ beforeMs: nowMs - keepMs, maxMs, stop });
    const leftMs = Math.max(0, maxMs - (performance.now() - beganMs));
    const back = await care.giveBack({ maxMs: leftMs, stop });
    care.checkpoint();
    // What there was no time for is not put off for a day.
    if (gone.end === 'all') care.done(TASK, nowMs);
    if (gone.runs + gone.bindings > 0 || back.bytes > 0) {
      listener({ event: 'ledger.tended', message: sentence(gone, back.bytes) });
    }
    if (back.way === 'no-room') {
      const message = `The ledger ${ledger.file} could give much space back to the disk, and there is no room for the copy that this takes. Free some space.`;
      listener({ event: 'ledger.problem', message });
    }
    return 'tended';
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error;
    listener({ event: 'ledger.problem', message: error.message });
    return 'failed';
  }
}

function sentence(
  { runs, bindings }: { readonly runs: number; readonly bindings: number },
  bytes: number,
): string {
  const parts = [
    ...(runs > 0 ? [`${runs === 1 ? '1 old run' : `${runs} old runs`} left the history`] : []),
    ...(bindings > 0
      ? [`${bindings === 1 ? '1 former target' : `${bindings} former targets`} of jobs forgotten`]
      : []),
    ...(bytes > 0 ? [`${formatBytes(bytes)} went back to the disk`] : []),
  ];
  return `${parts.join('; ')}.`;
}
