/*
 * Whether a private key can be used to log in, before anything is connected: for whoever reads the secrets of a run.
 * What reads keys is loaded where there is one.
 */

/** What is wrong with the key, in sentences that show nothing of it; undefined where it can be used. */
export async function mistakeInKey(
  privateKey: string,
  passphrase: string | undefined,
): Promise<string | undefined> {
  const { readPrivateKey } = await import('../../sftp/ssh/credentials.js');
  const reading = readPrivateKey(privateKey, passphrase);
  return reading.kind === 'key' ? undefined : reading.message;
}
