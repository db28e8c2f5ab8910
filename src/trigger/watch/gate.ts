/*
 * One at a time, for each file system that may not answer. Node has four threads for files and name look-ups, and a
 * call to a network file system whose server is away keeps its thread until that comes back: all the watches on such
 * a file system together may keep one. It cannot end such a call, and runs do not ask here.
 */

interface Gate {
  /** Who waits; the one who is in is not among them. */
  readonly waiting: (() => void)[];
}

/** Those that somebody is in. */
const gates = new Map<string, Gate>();

/**
 * Calls, as soon as nobody else is in.
 *
 * @param key of the file system; undefined for one that always answers, which needs no gate
 */
export async function throughGate<T>(key: string | undefined, call: () => Promise<T>): Promise<T> {
  if (key === undefined) return call();
  const gate = gates.get(key);
  if (gate === undefined) gates.set(key, { waiting: [] });
  else await new Promise<void>((resolve) => gate.waiting.push(resolve));
  try {
    return await call();
  } finally {
    const next = gates.get(key)?.waiting.shift();
    // It is handed on, not opened: nobody can come in between.
    if (next !== undefined) next();
    else gates.delete(key);
  }
}
