/*
 * Waits for a promise, but not for ever: what hangs on a file system that does not answer cannot be ended, only left.
 * It says nothing of how the promise ended; who cares holds it.
 */
import { timerDelayMs } from '../trigger.js';

/** Resolves when the promise is settled, or after `ms`. */
export async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timerDelayMs(ms));
  });
  await Promise.race([promise.catch(() => undefined), late]);
  clearTimeout(timer);
}
