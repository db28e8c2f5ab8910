/*
 * What is measured: each case a row, with what it has to reach. Sizes come from the command line, so that the same cases
 * are a smoke run of seconds or a table of an evening.
 */

export type Protocol = 'plain' | 'tls' | 'sftp';

/**
 * `push-small`: many files into an empty directory. `push-one`, `pull-one`: a single one. `unchanged`: a second run
 * over what is there already, whole process.
 */
export type Work = 'push-small' | 'push-one' | 'pull-one' | 'unchanged';

export interface Case {
  readonly name: string;
  readonly work: Work;
  readonly protocol: Protocol;
  /** How many small files; one where the work is one file. */
  readonly files: number;
  /** Size of the one file; 0 where there are many. */
  readonly bytes: number;
  /** How many times as fast as the fastest peer ferryd has to be; undefined where nobody has asked for anything. */
  readonly target: number | undefined;
  /** `link` has a round trip of 40 ms, `lossy` loses one packet in a hundred as well. */
  readonly where: 'loopback' | 'link' | 'lossy';
  /** As many for everybody; undefined: each at its best. */
  readonly connections: number | undefined;
  /**
   * How what is unchanged got there. `run`: by a run of ferryd. `prepared`: copied beside the server, and the ledger made
   * from the files.
   */
  readonly first: 'run' | 'prepared';
  /** Small files of 0 bytes: where nothing is sent, a million of them fit into memory. */
  readonly content?: 'empty';
}

export interface Sizes {
  /** Small files to push, and to find unchanged. */
  readonly files: number;
  /** Of the one file. */
  readonly bytes: number;
}

const PROTOCOLS: readonly Protocol[] = ['plain', 'tls', 'sftp'];
/** Rounds of a case, unless told; on a link little else than the round trip counts, and each takes minutes. */
export const ROUNDS: Readonly<Record<Case['where'], number>> = { loopback: 3, link: 1, lossy: 1 };
/** So many times as long as the fastest peer may another one take, before it is stopped. */
export const PATIENCE: Readonly<Record<Case['where'], number>> = { loopback: 4, link: 1.25, lossy: 1.25 };
/** The larger tree of the second run, and the part of it that a slow link gets. */
export const MANY = 10;
export const ON_LINK = 0.1;
/** Not the smallest first: who is far too slow with eight is not waited for with four. */
const LINK_CONNECTIONS = [8, 4, 16];
const LOSSY_CONNECTIONS = 8;
const LINK_TARGET: Readonly<Record<Protocol, number>> = { plain: 1.7, tls: 1.5, sftp: 3 };

/** Every case, in the order of the table. */
export function allCases({ files, bytes }: Sizes): readonly Case[] {
  const common = { bytes: 0, where: 'loopback', connections: undefined, first: 'run' } as const;
  const small = PROTOCOLS.map(
    (protocol): Case => ({
      ...common,
      name: `push-small-${protocol}`,
      work: 'push-small',
      protocol,
      files,
      target: 1,
    }),
  );
  const one = (['push-one', 'pull-one'] as const).flatMap((work) =>
    PROTOCOLS.map(
      (protocol): Case => ({
        ...common,
        name: `${work}-${protocol}`,
        work,
        protocol,
        files: 1,
        bytes,
        target: 0.9,
      }),
    ),
  );
  const unchanged = (['unchanged', 'unchanged-many'] as const).flatMap((name) =>
    PROTOCOLS.map(
      (protocol): Case => ({
        ...common,
        name: `${name}-${protocol}`,
        work: 'unchanged',
        protocol,
        files: name === 'unchanged' ? files : files * MANY,
        first: name === 'unchanged' ? 'run' : 'prepared',
        target: protocol === 'sftp' ? 2 : name === 'unchanged' ? 1.5 : 4,
      }),
    ),
  );
  const link = PROTOCOLS.flatMap((protocol) =>
    LINK_CONNECTIONS.map(
      (connections): Case => ({
        ...common,
        name: `link-small-${protocol}-${connections}`,
        work: 'push-small',
        protocol,
        files: Math.max(1, Math.round(files * ON_LINK)),
        target: LINK_TARGET[protocol],
        where: 'link',
        connections,
      }),
    ),
  );
  const lossy = link
    .filter(({ connections }) => connections === LOSSY_CONNECTIONS)
    .map(
      (of): Case => ({ ...of, name: of.name.replace('link', 'lossy'), where: 'lossy', target: undefined }),
    );
  return [...small, ...one, ...unchanged, ...link, ...lossy];
}

/** Those whose names hold one of the words: `push-small`, `sftp`, `link-small-tls-8`. All, where there is no word. */
export function chosen<T extends { readonly name: string }>(
  of: readonly T[],
  words: readonly string[],
): readonly T[] {
  return words.length === 0 ? of : of.filter(({ name }) => words.some((word) => name.includes(word)));
}
