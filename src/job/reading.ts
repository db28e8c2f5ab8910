/*
 * The result of reading a piece of text that a person wrote: a value, or what is wrong with it in words.
 */

/** `wrong` is a clause for a person, without a final full stop, that repeats no secret. */
export type Reading<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly wrong: string };

export function read<T>(value: T): Reading<T> {
  return { ok: true, value };
}

export function wrong(message: string): { readonly ok: false; readonly wrong: string } {
  return { ok: false, wrong: message };
}
