/*
 * What becomes of one attempt to tell somebody something, whatever the channel.
 * Types alone.
 */

/** `message` is a sentence for a person, without secrets: of a URL it names the host and no more. */
export type Sending =
  | { readonly kind: 'taken'; readonly message: string }
  /** Worth another attempt, and not before `afterMs` where the other side asked for that. */
  | { readonly kind: 'not-now'; readonly message: string; readonly afterMs?: number | undefined }
  /** Another attempt would end the same way. */
  | { readonly kind: 'refused'; readonly message: string }
  /** Called off from here, and no attempt. */
  | { readonly kind: 'stopped' };

/** What channels need besides what they say. */
export interface SendingContext {
  /** Where secrets may be. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** What programs get besides the notice. */
  readonly environmentOfCommands: () => Readonly<Record<string, string | undefined>>;
  /** Aborted: nothing is sent any more. */
  readonly signal: AbortSignal;
  /** PEM of the authorities to trust in place of those that come with Node; tests give their own. */
  readonly authorities?: string | undefined;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
}
