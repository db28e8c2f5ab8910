/*
 * The servers of servers.yaml by name. A mistake in one entry breaks that entry alone, and those that are reached
 * through it: jobs that use it are told where to look, all others load.
 */
import type { PlacedMistake, WrittenDocument } from './document.js';
import type { Server } from './job.js';
import { readVia, type ServerLookup, THROUGH_ITSELF } from './lookup.js';
import { below, error, type Mistake, steps } from './mistake.js';
import { quoted } from './problem.js';
import { readServerEntry } from './server.js';
import { checkShape, fits, record } from './shape.js';
import { closest } from './suggest.js';

export interface ServersReading {
  readonly byName: ReadonlyMap<string, ServerLookup>;
  /** For every other name, where the file as a whole is mistaken. */
  readonly fallback: ServerLookup | undefined;
  /** Those of YAML itself are not among them; the document has them. */
  readonly mistakes: readonly Mistake[];
}

/** Where the file is. */
interface FileOfServers {
  readonly fileName: string;
  /** Where relative paths count from. */
  readonly directory: string;
}

/** Reads all entries. */
export function readServers(document: WrittenDocument, where: FileOfServers): ServersReading {
  const shape = checkShape('servers', document.data);
  const mistakes: Mistake[] = [...shape.mistakes];
  const entries = new Map<string, Entry>();
  const remaining = record(shape.rest);
  for (const name of Object.keys(record(document.data))) {
    const known: PlacedMistake[] = [
      ...document.mistakes,
      ...shape.mistakes.map((mistake) => document.place(mistake)),
    ].filter(({ pointer }) => pointer === '' || steps(pointer)[0] === name);
    const written = remaining[name];
    const entry: Entry = { name, server: undefined, via: undefined, mistakes: known };
    if (fits('server', written)) {
      const reading = readServerEntry(name, written, {
        pointer: below('', name),
        directory: where.directory,
        keys: known.length === 0 ? 'whole' : 'pruned',
      });
      mistakes.push(...reading.mistakes);
      known.push(...reading.mistakes.map((mistake) => document.place(mistake)));
      entry.server = reading.server;
      // Where its URL says that it speaks FTP, it is told already that there is no via.
      entry.via = known.some(({ pointer }) => pointer === viaOf(name)) ? undefined : written.via;
    }
    entries.set(name, entry);
  }
  const linking = new Linking(entries, { ...where, place: (mistake) => document.place(mistake) });
  const byName = linking.all();
  mistakes.push(...linking.mistakes);
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

/** An entry before it is known what it leads through. */
interface Entry {
  readonly name: string;
  /** Undefined where it is mistaken. */
  server: Server | undefined;
  /** The name that it is to be reached through. */
  via: string | undefined;
  readonly mistakes: PlacedMistake[];
}

/** Joins each server with the one that it is reached through, however they stand in the file. Goes by loops alone. */
class Linking {
  readonly mistakes: Mistake[] = [];
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #where: FileOfServers & { place(mistake: Mistake): PlacedMistake };
  readonly #done = new Map<string, ServerLookup>();

  constructor(
    entries: ReadonlyMap<string, Entry>,
    where: FileOfServers & { place(mistake: Mistake): PlacedMistake },
  ) {
    this.#entries = entries;
    this.#where = where;
  }

  all(): ReadonlyMap<string, ServerLookup> {
    for (const entry of this.#entries.values()) {
      const way: Entry[] = [];
      let next: Entry | undefined = entry;
      while (next !== undefined && !this.#done.has(next.name)) {
        const from = way.indexOf(next);
        if (from >= 0) {
          this.#refuse(next, circle(way.slice(from)));
          break;
        }
        way.push(next);
        next = next.via === undefined ? undefined : this.#entries.get(next.via);
      }
      for (const one of way.toReversed()) if (!this.#done.has(one.name)) this.#link(one);
    }
    return this.#done;
  }

  #link(entry: Entry): void {
    const { server, via } = entry;
    if (via === undefined) {
      this.#settle(entry, server);
      return;
    }
    const others = [...this.#entries.keys()].filter((name) => name !== entry.name);
    const found: ServerLookup = this.#done.get(via) ?? {
      kind: 'unknown',
      message: '',
      suggestion: closest(via, others),
    };
    const self = server?.protocol === 'sftp' ? server : undefined;
    const reading = readVia(found, self);
    if (!reading.ok) this.#refuse(entry, reading.wrong);
    else this.#settle(entry, self === undefined ? undefined : { ...self, via: reading.value });
  }

  #refuse(entry: Entry, message: string): void {
    const mistake = error(viaOf(entry.name), message);
    this.mistakes.push(mistake);
    entry.mistakes.push(this.#where.place(mistake));
    this.#settle(entry, undefined);
  }

  #settle({ name, mistakes }: Entry, server: Server | undefined): void {
    const first = mistakes
      .filter(({ severity }) => severity === 'error')
      .toSorted((a, b) => a.line - b.line || a.column - b.column)[0];
    this.#done.set(
      name,
      first === undefined && server !== undefined
        ? { kind: 'server', server }
        : { kind: 'broken', message: brokenEntry(name, this.#where.fileName, first) },
    );
  }
}

function viaOf(name: string): string {
  return below(below('', name), 'via');
}

/** @param members each is reached through the next, and the last through the first */
function circle(members: readonly Entry[]): string {
  const [first] = members;
  if (first === undefined || members.length === 1) return THROUGH_ITSELF;
  const names = members.map(({ name }) => name);
  const shown = names.length > 5 ? [...names.slice(0, 4), '...'] : names;
  return `leads round in a circle: ${[...shown, first.name].join(' through ')}; one of them has to be reached without via`;
}

function brokenEntry(name: string, fileName: string, first: PlacedMistake | undefined): string {
  const place = first === undefined ? '' : `:${first.line}:${first.column}`;
  return `the server ${quoted(name)} has a mistake in ${fileName}${place}; correct it there`;
}
