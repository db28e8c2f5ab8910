/*
 * What the two sides show to the march: the local walk and the remote's listings, each in the order of the paths, with
 * the places named at which it is blind. Judges nothing; what a person should hear of goes to `onFinding`.
 */
import type { Job } from '../job/job.js';
import { IGNORE_FILE_CODE, type IgnoreMap } from '../local/ignore.js';
import type { Remark, Sight, Twin } from '../local/sight.js';
import { Turns } from '../local/turns.js';
import { walk, whichRoot } from '../local/walk.js';
import {
  comparePaths,
  type LinkEntry,
  type LocalEntry,
  type RelativePath,
  type RemoteEntry,
  type RemoteFile,
} from '../plan/entry.js';
import type { Told } from '../plan/march.js';
import { judge } from '../remote/failure.js';
import type { ListOptions, Remote, RemoteDirectory } from '../remote/remote.js';
import { RunEnded } from './end.js';
import type { Filter } from './filter.js';
import type { Scope } from './scope.js';

/** Something in the source that is no file to send, or none yet: it waits for its marker. */
export type Finding =
  | Remark
  | { readonly kind: 'waiting'; readonly path: RelativePath; readonly message: string };

export type OnFinding = (finding: Finding) => void;

/** True where a source is not empty although nothing of it may be looked at. */
export function hidesFiles(finding: Finding): boolean {
  return finding.kind === 'unreadable' && finding.code === IGNORE_FILE_CODE;
}

/** A local entry, and in what it differs from a twin that it has beside it. */
export type LocalItem = LocalEntry & { readonly twin?: Twin | undefined };

export interface LocalView {
  readonly root: string;
  readonly job: Pick<Job, 'links' | 'emptyDirectories' | 'names'>;
  readonly wants: Filter;
  /** Is told the rules of each `.ferryignore` on the way. */
  readonly ignored: IgnoreMap;
  readonly onFinding: OnFinding;
  /** Undefined: everything. */
  readonly scope?: Scope | undefined;
}

/**
 * The local side.
 *
 * @throws {RunEnded} where another directory stands in its place in the end: the disk was unmounted meanwhile, and all
 *   that had not been looked at yet seems to be gone
 */
export async function* localSights(view: LocalView): AsyncGenerator<readonly Told<LocalItem>[]> {
  const { root, job, wants, ignored, scope } = view;
  const which = await whichRoot(root);
  const sights = walk(root, {
    wants,
    links: job.links,
    directories: job.emptyDirectories === 'keep' ? 'told' : 'silent',
    twins: 'told',
    lineBreaks: job.names === 'encode' ? 'fit' : 'unfit',
    onRules: (directory, rules) => ignored.note(directory, rules),
    ...(scope === undefined ? {} : { heeds: (path) => scope.leadsTo(path) }),
  });
  for await (const some of sights) {
    // A directory that only lies on the way is not told.
    const looked =
      scope === undefined
        ? some
        : some.filter((sight) => sight.kind !== 'directory' || scope.has(sight.path));
    yield looked.map((sight) => toldOf(sight, view));
  }
  if ((await whichRoot(root)) === which) return;
  throw new RunEnded(
    'failed',
    'root-replaced',
    `${root} was unmounted or replaced while it was looked at, so nobody knows what is gone there: nothing is deleted. Is its disk mounted?`,
  );
}

function toldOf(sight: Sight, { onFinding }: LocalView): Told<LocalItem> {
  switch (sight.kind) {
    case 'file':
      return { kind: 'there', path: sight.file.path, item: withTwin(sight.file, sight.twin) };
    case 'link':
      return { kind: 'there', path: sight.link.path, item: withTwin(sight.link, sight.twin) };
    case 'directory': {
      const { path } = sight;
      return { kind: 'there', path, item: withTwin({ path, directory: true }, sight.twin) };
    }
    case 'ignored':
    case 'unfit':
      onFinding(sight);
      return { kind: 'blind', path: sight.path, why: 'foreign' };
    case 'unreadable':
      onFinding(sight);
      return { kind: 'blind', path: sight.path, why: 'unreadable' };
  }
}

function withTwin(entry: LocalEntry, twin: Twin | undefined): LocalItem {
  return twin === undefined ? entry : { ...entry, twin };
}

/** Where listings come from: the remote itself, or something more patient. */
export type Lists = Pick<Remote, 'list' | 'label'> & {
  /** Makes the root where it is not there; without it a missing one is taken for an empty one. */
  readonly makeRoot?: () => Promise<void>;
};

export interface RemoteView {
  readonly remote: Lists;
  readonly job: Pick<Job, 'emptyDirectories' | 'links'>;
  /** By the paths as they are called here. */
  readonly wants: Filter;
  /** The path of something that the remote lists, as it is called here. */
  readonly pathOf: (there: RelativePath) => RelativePath;
  /** `source`: it must be there. `target`: it need not be there yet. */
  readonly role: 'source' | 'target';
  readonly onFinding: OnFinding;
}

/** The remote side. Asks for one listing a directory. */
export async function* remoteSights(view: RemoteView): AsyncGenerator<readonly Told<RemoteEntry>[]> {
  const root = await listRoot(view);
  if (root === undefined) yield [{ kind: 'blind', path: '', why: 'unproven' }];
  else yield* listed(view, '', root);
}

/** @returns undefined for a target that cannot be listed, most likely because it is not there yet */
async function listRoot({ remote, role, job }: RemoteView): Promise<RemoteDirectory | undefined> {
  try {
    return await remote.list('', asksFor(job));
  } catch (error) {
    if (role === 'source' || endsScan(error)) throw error;
    if (remote.makeRoot === undefined) return undefined;
    await remote.makeRoot();
    return remote.list('', asksFor(job));
  }
}

/** What a listing is to tell for this job. */
export function asksFor({ links }: Pick<Job, 'links'>): Pick<ListOptions, 'links'> {
  return links === 'preserve' ? { links: 'told' } : {};
}

/** How many things of a listing are told at a time. */
const AT_ONCE = 256;

/** One thing of a listing. `key` is its path as the march orders it. */
interface Entry {
  readonly key: string;
  readonly what:
    | { readonly file: RemoteFile }
    | { readonly link: LinkEntry }
    | { readonly directory: RelativePath }
    | { readonly other: RelativePath };
}

async function* listed(
  view: RemoteView,
  directory: RelativePath | '',
  { files, directories, links = [], others, complete, proven }: RemoteDirectory,
): AsyncGenerator<readonly Told<RemoteEntry>[]> {
  const { remote, job, pathOf, onFinding } = view;
  let told: Told<RemoteEntry>[] = [];
  if (!complete) {
    onFinding({
      kind: 'unreadable',
      path: directory,
      code: 'listing',
      message: `The server's listing of ${directory === '' ? remote.label : directory} is incomplete or has names that no file can have here; only what it shows is known.`,
    });
  }
  if (!proven) told.push({ kind: 'blind', path: pathOf(directory), why: 'unproven' });
  const entries = await inOrder(view, [
    ...files.map((file) => ({ key: pathOf(file.path), what: { file } })),
    ...links.map((link) => ({ key: pathOf(link.path), what: { link } })),
    ...directories.map((path) => ({ key: `${pathOf(path)}/`, what: { directory: path } })),
    ...others.map((path) => ({ key: pathOf(path), what: { other: path } })),
  ]);
  for (const [place, { key, what }] of entries.entries()) {
    // A listing may name one thing twice, or two that are called the same here; the march needs each path once.
    if (entries[place - 1]?.key === key) continue;
    if (entries[place + 1]?.key === key) {
      onFinding({
        kind: 'unfit',
        path: key,
        code: 'name',
        message: `The server lists ${key} twice, or two names for which this is one: only the first is looked at, and nothing is deleted there.`,
      });
      // Before all that lies in it: what only the second of them has is not gone.
      told.push({ kind: 'blind', path: key, why: 'unreadable' });
    }
    if ('file' in what) {
      told.push({ kind: 'there', path: key, item: what.file });
    } else if ('link' in what) {
      told.push({ kind: 'there', path: key, item: what.link });
    } else if ('other' in what) {
      onFinding({ kind: 'ignored', path: key, message: `${key} is no regular file on the server.` });
      told.push({ kind: 'blind', path: key, why: 'foreign' });
    } else {
      if (job.emptyDirectories === 'keep') {
        told.push({ kind: 'there', path: key, item: { path: `${what.directory}/`, directory: true } });
      }
      // Before the server is asked for the next listing, which takes its time.
      if (told.length > 0) yield told;
      told = [];
      yield* listedBelow(view, what.directory);
    }
    if (told.length >= AT_ONCE) {
      yield told;
      told = [];
    }
  }
  if (told.length > 0) yield told;
}

async function inOrder({ wants }: RemoteView, all: readonly Entry[]): Promise<Entry[]> {
  const entries: Entry[] = [];
  const turns = new Turns();
  for (const entry of all) {
    await turns.take();
    if (wants(entry.key)) entries.push(entry);
  }
  return entries.sort((a, b) => comparePaths(a.key, b.key));
}

/** As long as a path can be, in bytes. A server that shows a directory below itself would be listed without end. */
const LONGEST_PATH_BYTES = 4_095;

/** A directory that the server does not list is told, and does not keep the others from being looked at. */
async function* listedBelow(
  view: RemoteView,
  directory: RelativePath,
): AsyncGenerator<readonly Told<RemoteEntry>[]> {
  if (Buffer.byteLength(directory) > LONGEST_PATH_BYTES) {
    const message = `${directory.slice(0, 80)}... is deeper than any path can be: does the server show a directory below itself? It is not looked into.`;
    view.onFinding({ kind: 'unreadable', path: directory, code: 'ENAMETOOLONG', message });
    yield [{ kind: 'blind', path: `${view.pathOf(directory)}/`, why: 'unreadable' }];
    return;
  }
  let listing: RemoteDirectory;
  try {
    listing = await view.remote.list(directory, asksFor(view.job));
  } catch (error) {
    if (endsScan(error)) throw error;
    const { code, message } = judge(error);
    view.onFinding({ kind: 'unreadable', path: directory, code, message });
    yield [{ kind: 'blind', path: `${view.pathOf(directory)}/`, why: 'unreadable' }];
    return;
  }
  yield* listed(view, directory, listing);
}

/** True for what no other look would fare better with. */
export function endsScan(error: unknown): boolean {
  const { beforeSession, decision } = judge(error);
  return error instanceof RunEnded || beforeSession || decision === 'abort' || decision === 'hold';
}
