/*
 * Whether a private key can be used to log in, before anything is connected: for whoever reads the secrets of a run.
 */
import { readPrivateKey } from '../../sftp/ssh/credentials.js';

/** What is wrong with the key, in sentences that show nothing of it; undefined where it can be used. */
export function mistakeInKey(privateKey: string, passphrase: string | undefined): string | undefined {
  const reading = readPrivateKey(privateKey, passphrase);
  return reading.kind === 'key' ? undefined : reading.message;
}
