/*
 * The servers of servers.yaml by name. A mistake in one entry breaks that entry alone: jobs that use it are told
 * where to look, all others load.
 */
import type { PlacedMistake, WrittenDocument } from './document.js';
import type { Server } from './job.js';
import { below, type Mistake, steps } from './mistake.js';
import { quoted } from './problem.js';
import { readServerEntry } from './server.js';
import { checkShape, fits, record } from './shape.js';

/** What servers.yaml says about a name. */
export type ServerLookup =
  | { readonly kind: 'server'; readonly server: Server }
  /** It is there, but cannot be used; `message` says where it is mistaken. */
  | { readonly kind: 'broken'; readonly message: string }
  | { readonly kind: 'unknown'; readonly message: string; readonly suggestion: string | undefined };

export interface ServersReading {
  readonly byName: ReadonlyMap<string, ServerLookup>;
  /** For every other name, where the file as a whole is mistaken. */
  readonly fallback: ServerLookup | undefined;
  /** Those of YAML itself are not among them; the document has them. */
  readonly mistakes: readonly Mistake[];
}

/** Reads all entries. `directory` is where relative paths count from. */
export function readServers(
  document: WrittenDocument,
  where: { readonly fileName: string; readonly directory: string },
): ServersReading {
  const shape = checkShape('servers', document.data);
  const mistakes: Mistake[] = [...shape.mistakes];
  const byName = new Map<string, ServerLookup>();
  const remaining = record(shape.rest);
  for (const name of Object.keys(record(document.data))) {
    const known: PlacedMistake[] = [
      ...document.mistakes,
      ...shape.mistakes.map((mistake) => document.place(mistake)),
    ].filter(({ pointer }) => pointer === '' || steps(pointer)[0] === name);
    const written = remaining[name];
    let server: Server | undefined;
    if (fits('server', written)) {
      const reading = readServerEntry(name, written, {
        pointer: below('', name),
        directory: where.directory,
        keys: known.length === 0 ? 'whole' : 'pruned',
      });
      mistakes.push(...reading.mistakes);
      known.push(...reading.mistakes.map((mistake) => document.place(mistake)));
      server = reading.server;
    }
    const first = known
      .filter(({ severity }) => severity === 'error')
      .toSorted((a, b) => a.line - b.line || a.column - b.column)[0];
    byName.set(
      name,
      first === undefined && server !== undefined
        ? { kind: 'server', server }
        : { kind: 'broken', message: brokenEntry(name, where.fileName, first) },
    );
  }
  const whole = shape.mistakes.some(({ pointer }) => pointer === '');
  return { byName, fallback: whole ? brokenFile(where.fileName) : undefined, mistakes };
}

/** The answer for every name where the file cannot be read. */
export function brokenFile(fileName: string): ServerLookup {
  return {
    kind: 'broken',
    message: `${fileName} cannot be read, so its servers are unknown; correct it first`,
  };
}

function brokenEntry(name: string, fileName: string, first: PlacedMistake | undefined): string {
  const place = first === undefined ? '' : `:${first.line}:${first.column}`;
  return `the server ${quoted(name)} has a mistake in ${fileName}${place}; correct it there`;
}
