/*
 * Signals for a command in the foreground: the first asks for a stop at the next file, the second, or the end of
 * the time that a stop may take, cuts off what is in flight.
 */

export interface StopSignals {
  readonly stop: AbortSignal;
  readonly cut: AbortSignal;
  /** Stops listening. */
  dispose(): void;
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Listens for SIGINT and SIGTERM. */
export function stopSignals(withinMs: number): StopSignals {
  const stop = new AbortController();
  const cut = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const onSignal = (): void => {
    if (stop.signal.aborted) {
      cut.abort();
      return;
    }
    stop.abort();
    timer = setTimeout(() => cut.abort(), withinMs);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    stop: stop.signal,
    cut: cut.signal,
    dispose: () => {
      clearTimeout(timer);
      for (const signal of SIGNALS) process.off(signal, onSignal);
    },
  };
}
