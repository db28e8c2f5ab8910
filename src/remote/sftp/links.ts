/*
 * Symbolic links, kept as they are: read, and made under a temporary name, read back and published like a file. None of
 * them is ever followed.
 */
import type { RelativePath } from '../../plan/entry.js';
import type { Directories } from '../directories.js';
import { isAnswer } from '../refusal.js';
import { LinkImpossible, type LinkMaking, TemporaryRefused, type Trials } from '../remote.js';
import type { Errand } from './errand.js';
import { linkAt, linksOn, removeStray } from './link-trial.js';
import { cannotMove, type Moves } from './moves.js';
import { Publisher } from './publishing.js';
import { isMissing, isUnsupported, mayBeTaken } from './refusal.js';
import { directoryAt } from './renames.js';
import { Tree } from './tree.js';

/** Makes a link. @returns whether something stood under the path and was moved aside; throws as `RemoteLinks.make` */
export async function makeLink(
  errand: Errand,
  making: LinkMaking,
  shared: { readonly directories: Directories; readonly moves: Moves; readonly trials: Trials | undefined },
): Promise<{ readonly setAside: boolean }> {
  const { path, temporary, leadsTo, aside } = making;
  const { tree, where } = errand;
  const publisher = new Publisher(errand, shared);
  if (temporary === path) await makeRoom(errand, making);
  else if (!publisher.possible)
    throw new TemporaryRefused(`${where} cannot rename: ${path} is made under its final name.`);
  // First, where the directory is there: what a server makes of the real text is not to be found out by it.
  const leaves = temporary === path || (await triedFirst(errand, temporary, shared.trials));
  if (leaves === false) throw impossible(path, where);
  await linkWithParent(errand, making, shared.directories);
  const [made, standing] = await Promise.all([
    linkAt(errand, errand.on(temporary)),
    aside === undefined ? undefined : tree.standing(errand.on(path)),
  ]);
  if (made !== leadsTo) {
    if (made === undefined) await removeStray(errand, leadsTo, errand.on(temporary));
    await tree.remove(errand.on(temporary));
    const instead = made === undefined ? 'makes links in another way' : `made ${made} of it`;
    throw new LinkImpossible(
      `${path} is a link to ${leadsTo}, and cannot be made on ${where}, which ${instead}. Exclude it, or write links: skip.`,
    );
  }
  if (leaves === undefined && (await linksOn(errand, temporary, shared.trials)) !== 'kept') {
    await tree.remove(errand.on(temporary));
    throw impossible(path, where);
  }
  const before = await publisher.publish({
    path,
    temporary,
    aside: temporary === path ? undefined : aside,
    standing,
    part: 'none',
    isAt: async (place) => (await linkAt(errand, place)) === leadsTo,
  });
  return { setAside: before === 'set-aside' };
}

/** @returns undefined where no link could be made to try it out with: its directory is missing, most likely */
async function triedFirst(
  errand: Errand,
  temporary: RelativePath,
  trials: Trials | undefined,
): Promise<boolean | undefined> {
  try {
    return (await linksOn(errand, temporary, trials)) === 'kept';
  } catch (error) {
    if (isAnswer(error)) return undefined;
    throw error;
  }
}

function impossible(path: RelativePath, where: string): LinkImpossible {
  return new LinkImpossible(
    `${path} is a link, and ${where} does not leave links what they are: it is not made there. Exclude it, or write links: skip.`,
  );
}

/** Where the server cannot rename, what stands there has to go first; what was to be moved aside cannot be. */
async function makeRoom(errand: Errand, { path, aside }: LinkMaking): Promise<void> {
  const standing = await errand.tree.standing(errand.on(path));
  if (standing === 'nothing') return;
  if (standing === 'directory') throw directoryAt(path, errand.where, undefined);
  if (aside !== undefined) throw cannotMove(path, errand.where);
  await errand.tree.remove(errand.on(path));
}

async function linkWithParent(errand: Errand, making: LinkMaking, directories: Directories): Promise<void> {
  const { temporary, leadsTo } = making;
  const at = errand.on(temporary);
  const link = (): Promise<void> =>
    errand.session.client.symlink({ at, target: leadsTo }, { signal: errand.signal });
  const known = directories.knowsParentOf(at);
  try {
    await link();
  } catch (error) {
    if (isUnsupported(error)) {
      const message = `${errand.where} knows no links, so ${making.path} cannot be made there. Write links: skip.`;
      throw new LinkImpossible(message, { cause: error });
    }
    if (!isMissing(error) && !mayBeTaken(error)) throw error;
    if ((await errand.tree.standing(at)) !== 'nothing') throw error;
    const made = await errand
      .heed(directories.makeParentOf(at, known, new Tree(errand.session, undefined)))
      .catch(async (cause: unknown) => {
        const parent = parentOf(temporary);
        if (isAnswer(cause) && parent !== '') await errand.unlessFile(parent, cause);
        throw cause;
      });
    if (made === 'was-there') throw error;
    await link();
  }
}

function parentOf(path: RelativePath): RelativePath | '' {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}
