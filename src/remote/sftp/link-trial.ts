/*
 * Whether a server leaves links what they are. mod_sftp (ProFTPD) tells of each where it leads from the root, and its
 * RENAME moves what a link leads to in place of the link; of one that leads nowhere it moves the link (measured). So it
 * is found out, once a server, with a link to a file of our own.
 */
import { randomBytes } from 'node:crypto';
import type { RelativePath } from '../../plan/entry.js';
import { temporaryName } from '../../plan/temporary.js';
import { isAnswer } from '../refusal.js';
import type { Trials } from '../remote.js';
import type { Errand } from './errand.js';
import type { SftpFacts } from './profile.js';
import { isUnsupported } from './refusal.js';
import { nameOf } from './tree.js';

/** The text of a link; undefined where there is none at this server path, or none whose text can be told. */
export async function linkAt(errand: Errand, path: string): Promise<string | undefined> {
  try {
    const { name } = await errand.session.client.readlink(path, { signal: errand.signal });
    return name === '' ? undefined : name;
  } catch (error) {
    if (isAnswer(error)) return undefined;
    throw error;
  }
}

/**
 * What a server makes of links.
 *
 * @param beside in whose directory that may be tried out
 * @throws {SftpError} where no link can be made to try it out with
 */
export async function linksOn(
  errand: Errand,
  beside: RelativePath,
  trials: Trials | undefined,
): Promise<Exclude<SftpFacts['links'], 'untried'>> {
  const { profile, client } = errand.session;
  const { links, temporary } = profile.facts;
  if (links !== 'untried') return links;
  const form = temporary === 'plain' ? 'plain' : 'hidden';
  const names = [0, 1, 2].map(() => temporaryName(beside, randomBytes(8).toString('hex'), form));
  const [first = '', second = '', file = ''] = names.map((name) => errand.on(name));
  const text = nameOf(file);
  for (const name of names) trials?.begin(name);
  const options = { signal: errand.signal };
  try {
    await client.symlink({ at: first, target: text }, options);
  } catch (error) {
    if (isAnswer(error) || isUnsupported(error)) for (const name of names) trials?.end(name);
    throw error;
  }
  const made = await linkAt(errand, first);
  // A server that has the two names the other way round.
  if (made === undefined) await removeStray(errand, text, first);
  const found =
    made !== undefined && !(await isRenamed(errand, { from: first, to: second, file }))
      ? 'followed'
      : made === text
        ? 'kept'
        : 'unkept';
  for (const path of [first, second, file]) {
    await client.remove(path, options).catch((error: unknown) => {
      if (!isAnswer(error)) throw error;
    });
  }
  for (const name of names) trials?.end(name);
  if (found === 'kept') profile.note('links', found);
  else {
    const what =
      found === 'followed' ? 'renames what links lead to' : 'gives links another text than it is told';
    profile.learn('links', found, `${errand.where} ${what}: none is made there.`);
  }
  return found;
}

/** Of a link to a file that is there: of one that leads nowhere mod_sftp renames the link. */
async function isRenamed(
  errand: Errand,
  { from, to, file }: { readonly from: string; readonly to: string; readonly file: string },
): Promise<boolean> {
  const { client } = errand.session;
  const { signal } = errand;
  try {
    const handle = await client.open(file, { access: 'exclusive', signal });
    await errand.heed(handle.close());
    await client.rename(from, to, { signal });
    return (await linkAt(errand, to)) !== undefined;
  } catch (error) {
    if (!isAnswer(error)) throw error;
    return false;
  }
}

/** False where what a link leads to would be renamed in its place. Where that cannot be tried out, the server is believed. */
export async function mayRenameLink(errand: Errand, path: RelativePath): Promise<boolean> {
  try {
    return (await linksOn(errand, path, undefined)) !== 'followed';
  } catch (error) {
    if (isAnswer(error) || isUnsupported(error)) return true;
    throw error;
  }
}

/** Takes away a link that stands where another one was to lead. */
export async function removeStray(errand: Errand, at: string, leadsTo: string): Promise<void> {
  if ((await linkAt(errand, at)) === leadsTo)
    await errand.session.client.remove(at, { signal: errand.signal });
}
