/* What the SFTP sweeps ask of a remote: every operation of the contract, with what must hold of it whatever happens. */
import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { RemoteFile } from '../../../src/plan/entry.js';
import { temporaryName } from '../../../src/plan/temporary.js';
import type { RemoteDirectory } from '../../../src/remote/remote.js';
import { sha256, someTimeMs, sourceOf } from '../contract.js';
import { contentOf, filesBelow, type Operation, standsAnywhere } from './sftp-sweep.js';

const OLD = 'what stood there before, which is longer than the new one';
const NEW = 'the new content';
/** Several READs and WRITEs, none of them like another. */
const LARGE = Array.from({ length: 50_000 }, (_, place) => `${place};`).join('');
const ASIDE = '.ferryd-trash/20210304T050607Z/file';
const SET = someTimeMs / 1000;

function place(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  utimesSync(path, SET, SET);
}

function nothing(): readonly string[] {
  return [];
}

/** A sentence where two things are not the same. */
function differ(what: string, is: unknown, wanted: unknown): readonly string[] {
  const [one, other] = [JSON.stringify(is), JSON.stringify(wanted)];
  return one === other ? [] : [`${what}: ${one?.slice(0, 200)} where ${other?.slice(0, 200)} belongs`];
}

/** The final name holds all of it, or what stood there before, which is lost at no time before. */
function neverHalf(disk: string, path: string, content: string, old: string | undefined): readonly string[] {
  const found = contentOf(join(disk, path));
  if (found !== undefined && found !== content && found !== old)
    return [`${path} holds ${found.length} bytes and is not whole`];
  const kept = old === undefined || standsAnywhere(disk, content) || standsAnywhere(disk, old);
  return kept ? [] : [`what stood at ${path} is lost`];
}

interface DeliveryCase {
  readonly path: string;
  readonly content: string;
  readonly old?: string;
  readonly part?: string;
  readonly aside?: string;
  readonly permissions?: number;
}

function delivering(name: string, one: DeliveryCase): Operation {
  const { path, content, old, part, aside, permissions } = one;
  const temporary = temporaryName(path, 'sweep', 'hidden');
  return {
    name,
    prepare: (disk) => {
      if (old !== undefined) place(join(disk, path), old);
      if (part !== undefined) place(join(disk, temporary), part);
    },
    work: ({ remote }) =>
      remote.deliver({
        path,
        // A server that says once that it cannot rename is believed.
        temporary:
          remote.temporaryForm === 'hidden' ? temporary : temporaryName(path, 'sweep', remote.temporaryForm),
        source: sourceOf(content),
        part: 'possible',
        permissions,
        aside,
      }),
    goal: ({ disk }, value) => {
      const set = aside !== undefined && old !== undefined ? { [aside]: old } : {};
      const { sha256: told, bytes } = value as { readonly sha256: string; readonly bytes: number };
      return [
        ...differ('it holds', filesBelow(disk), { ...set, [path]: content }),
        ...differ('it told', [told, bytes], [sha256(content), content.length]),
      ];
    },
    always: (disk) => neverHalf(disk, path, content, old),
  };
}

/** The names of files, which sizes they have, and in what order they came is nobody's business. */
function listed(directory: RemoteDirectory): Readonly<Record<string, unknown>> {
  const files = directory.files.map(({ path, sizeBytes, modifiedMs }) => [path, sizeBytes, modifiedMs]);
  return { files: files.sort(), directories: [...directory.directories].sort() };
}

const LISTED = {
  files: Array.from({ length: 12 }, (_, count) => [`file-${count}`, count, someTimeMs]).sort(),
  directories: ['below', 'sub'],
};

export const operations = {
  'a new file': delivering('a new file', { path: 'file', content: NEW }),
  'a new file in new directories': delivering('a new file in new directories', {
    path: 'a/b/file',
    content: NEW,
  }),
  'over a file': delivering('over a file', { path: 'file', content: NEW, old: OLD }),
  permissions: delivering('permissions', { path: 'file', content: NEW, permissions: 0o640 }),
  'over a file, which goes aside': delivering('over a file, which goes aside', {
    path: 'file',
    content: NEW,
    old: OLD,
    aside: ASIDE,
  }),
  'a large file': delivering('a large file', { path: 'file', content: LARGE, old: OLD }),
  'the rest of a file': delivering('the rest of a file', {
    path: 'file',
    content: LARGE.repeat(5),
    part: LARGE.repeat(4),
  }),
  fetch: {
    name: 'fetch',
    prepare: (disk) => place(join(disk, 'file'), LARGE),
    work: async ({ remote }) => {
      const chunks: Buffer[] = [];
      const bytes = await remote.fetch('file', async (chunk) => void chunks.push(Buffer.from(chunk)));
      return { bytes, content: Buffer.concat(chunks).toString('latin1') };
    },
    goal: (_scene, value) => {
      const { bytes, content } = value as { readonly bytes: number; readonly content: string };
      return [
        ...differ('it told', bytes, LARGE.length),
        ...differ('it gave', sha256(content), sha256(LARGE)),
      ];
    },
    always: nothing,
  },
  stat: {
    name: 'stat',
    prepare: (disk) => place(join(disk, 'file'), NEW),
    work: ({ remote }) => remote.stat('file'),
    goal: (_scene, value) => {
      const found = value as RemoteFile | undefined;
      return differ('it told', [found?.sizeBytes, found?.modifiedMs], [NEW.length, someTimeMs]);
    },
    always: nothing,
  },
  list: {
    name: 'list',
    prepare: (disk) => {
      for (const directory of LISTED.directories) mkdirSync(join(disk, directory));
      for (let count = 0; count < 12; count += 1) place(join(disk, `file-${count}`), 'x'.repeat(count));
    },
    work: ({ remote }) => remote.list(''),
    goal: (_scene, value) => {
      const directory = value as RemoteDirectory;
      // What nobody deletes by may be short.
      if (!directory.complete || !directory.proven) return [];
      return differ('it told', listed(directory), LISTED);
    },
    always: nothing,
  },
  remove: {
    name: 'remove',
    prepare: (disk) => place(join(disk, 'file'), OLD),
    work: ({ remote }) => remote.remove('file'),
    goal: ({ disk }) => differ('it holds', filesBelow(disk), {}),
    always: nothing,
  },
  move: {
    name: 'move',
    prepare: (disk) => place(join(disk, 'file'), OLD),
    work: ({ remote }) => remote.move('file', 'new/place'),
    goal: ({ disk }) => differ('it holds', filesBelow(disk), { 'new/place': OLD }),
    always: (disk) =>
      ['file', 'new/place'].some((path) => contentOf(join(disk, path)) === OLD) ? [] : ['the file is lost'],
  },
  'move onto a file': {
    name: 'move onto a file',
    prepare: (disk) => {
      place(join(disk, 'file'), NEW);
      place(join(disk, 'taken'), OLD);
    },
    work: ({ remote }) => remote.move('file', 'taken'),
    goal: (_scene, value) => differ('it told', value, 'occupied'),
    always: (disk) => differ('it holds', filesBelow(disk), { file: NEW, taken: OLD }),
  },
  'make a directory': {
    name: 'make a directory',
    prepare: nothing,
    work: ({ remote }) => remote.makeDirectory('a/b'),
    goal: ({ disk }) => (existsSync(join(disk, 'a/b')) ? [] : ['there is no directory']),
    always: nothing,
  },
  'remove a directory': {
    name: 'remove a directory',
    prepare: (disk) => mkdirSync(join(disk, 'sub')),
    work: ({ remote }) => remote.removeDirectory('sub'),
    goal: ({ disk }, value) => [
      ...differ('it told', value, 'removed'),
      ...(existsSync(join(disk, 'sub')) ? ['it is there still'] : []),
    ],
    always: nothing,
  },
  'remove a directory that is full': {
    name: 'remove a directory that is full',
    prepare: (disk) => place(join(disk, 'sub/file'), OLD),
    work: ({ remote }) => remote.removeDirectory('sub'),
    goal: (_scene, value) => differ('it told', value, 'not-empty'),
    always: (disk) => differ('it holds', filesBelow(disk), { 'sub/file': OLD }),
  },
  digest: {
    name: 'digest',
    prepare: (disk) => place(join(disk, 'file'), LARGE),
    work: ({ remote }) => remote.digest('file', { sizeBytes: LARGE.length }),
    goal: (_scene, value) => {
      const digest = value as { readonly algorithm: string; readonly hex: string } | undefined;
      return digest?.algorithm === 'SHA-256'
        ? differ('it told', digest.hex, sha256(LARGE))
        : ['it told no digest'];
    },
    always: nothing,
  },
} as const satisfies Readonly<Record<string, Operation>>;

export type OperationName = keyof typeof operations;
