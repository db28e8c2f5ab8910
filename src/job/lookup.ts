/*
 * What servers.yaml says about a name by which a job, or another server (`via`), calls a server; and whether a
 * connection can go through that one.
 */
import type { Server, SftpServer } from './job.js';
import { type Reading, read, wrong } from './reading.js';
import { didYouMean } from './suggest.js';

export type ServerLookup =
  | { readonly kind: 'server'; readonly server: Server }
  /** It is there, but cannot be used; `message` says where it is mistaken. */
  | { readonly kind: 'broken'; readonly message: string }
  | { readonly kind: 'unknown'; readonly message: string; readonly suggestion: string | undefined };

/** More than anybody has; each of them is a login of its own before the first file. */
const MAX_HOPS = 8;

/** The server that the connection to `server` goes through; its own way is known by then. */
export function readVia(found: ServerLookup, server: SftpServer | undefined): Reading<SftpServer> {
  if (found.kind === 'unknown') {
    return wrong(`via names no server of servers.yaml${didYouMean(found.suggestion)}`);
  }
  if (found.kind === 'broken') return wrong(found.message);
  const hop = found.server;
  if (hop.protocol !== 'sftp') {
    return wrong(
      'via leads through a server that one logs in to by SSH, and this one speaks FTP; name an sftp:// server, or take via away',
    );
  }
  if (server !== undefined && isSame(hop, server)) return wrong(THROUGH_ITSELF);
  let hops = 0;
  for (let next: SftpServer | undefined = hop; next !== undefined; next = next.via) hops += 1;
  if (hops > MAX_HOPS) {
    return wrong(
      `leads through ${hops} servers, one behind the other; ferryd goes through ${MAX_HOPS} at most`,
    );
  }
  return read(hop);
}

export const THROUGH_ITSELF =
  'a server cannot be reached through itself; name the one that stands before it, or take via away';

function isSame(a: SftpServer, b: SftpServer): boolean {
  return a.host === b.host && a.port === b.port && a.user === b.user;
}
