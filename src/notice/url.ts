/*
 * Reads a URL that may be a secret, at the moment it is needed, and holds it to what holds of one in the job file.
 * Messages name its source, never the URL.
 */
import type { UrlSource } from '../job/job.js';
import { readSecret, SecretError } from '../job/secret.js';
import { checkWebUrl } from '../job/web-address.js';

/** Either the URL, or a sentence on why there is none. */
export type UrlReading =
  | { readonly kind: 'url'; readonly url: URL }
  | { readonly kind: 'none'; readonly message: string };

/** @param what names it in sentences: `the URL of the webhook` */
export async function readUrl(
  source: UrlSource,
  what: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<UrlReading> {
  try {
    const text = source.kind === 'text' ? source.url : await readSecret(source, { what, environment });
    const wrong = checkWebUrl(text.trim());
    if (wrong === undefined) return { kind: 'url', url: new URL(text.trim()) };
    return { kind: 'none', message: `What was found as ${what} cannot be used: it ${wrong}.` };
  } catch (error) {
    if (error instanceof SecretError) return { kind: 'none', message: error.message };
    throw error;
  }
}
