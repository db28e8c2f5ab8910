/*
 * Links of the remote, for whoever has to know whether one of them stands there still.
 */
import type { LinkEntry, RelativePath } from '../plan/entry.js';
import type { Remote, RemoteLinks } from '../remote/remote.js';
import { RunEnded } from './end.js';

/**
 * What the remote does about links.
 *
 * @throws {RunEnded} where its protocol has none
 */
export function linksOf(remote: Pick<Remote, 'label' | 'links'>): RemoteLinks {
  if (remote.links !== undefined) return remote.links;
  const message = `${remote.label} knows no links, so they cannot be preserved there: write links: skip.`;
  throw new RunEnded('configuration', 'links', message);
}

/** The link at a path of the remote; undefined where there is none. */
export async function linkThere(
  remote: Pick<Remote, 'label' | 'links'>,
  path: RelativePath,
  signal: AbortSignal | undefined,
): Promise<LinkEntry | undefined> {
  const leadsTo = await linksOf(remote).read(path, { signal });
  return leadsTo === undefined ? undefined : { path, leadsTo };
}
