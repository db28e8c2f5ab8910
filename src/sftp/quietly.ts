/*
 * Rejections that may stay unheard. Of several requests in one flight the first failure is the one that is awaited;
 * those behind it must not end the process.
 */

/** Begins some work at once; its promise rejects like any other, and may be left alone. */
export function quietly<T>(work: () => Promise<T>): Promise<T> {
  const promise = work();
  promise.catch(() => {});
  return promise;
}
