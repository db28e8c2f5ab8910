/*
 * The operations that are swept, each with as little in it as it needs: one or two small files. What is there at
 * first is put there by runs that nobody disturbs; then a person changes something, and the next run is the one that
 * is killed.
 */
import type { Job } from '../../src/job/job.js';
import type { FtpServerOptions } from '../support/ftp-server/settings.js';
import { FIRST_MS, HOUR_MS, LATER, type Scene, type ServerKind } from './scene.js';

export interface Operation {
  readonly name: string;
  readonly work: 'run' | 'restore';
  readonly job: Partial<Omit<Job, 'server'>>;
  /** The scripted server, where it is to be another one than usual. Such an operation has no real server. */
  readonly server?: Partial<FtpServerOptions>;
  readonly servers: readonly ServerKind[];
  readonly prepare: (scene: Scene) => void | Promise<void>;
  /** Whole contents that each path may have, from the killed run on. */
  readonly whole: Readonly<Record<string, readonly string[]>>;
  /** What a run says to the server where nothing is to be done: nothing at all, or it asks for listings. */
  readonly atRest: 'silent' | 'lists';
}

const ALL = ['scripted', 'vsftpd', 'openssh'] as const;

const DELETE = {
  policy: 'delete',
  keepMs: 30 * 86_400_000,
  extraneous: false,
  limit: { percent: 10, files: 100 },
} as const;
const TRASH = { ...DELETE, policy: 'trash' } as const;

/** The run that both sides agree by, be it on nothing: the ledger is there then, and knows both. */
const agree = (scene: Scene): Promise<unknown> => scene.run(FIRST_MS - 2 * HOUR_MS);

/** Larger than what is worth going on with. */
const LARGE = 'as long as it takes '.repeat(60_000);

export const OPERATIONS: readonly Operation[] = [
  {
    name: 'upload: two new files in a new directory',
    work: 'run',
    job: {},
    servers: ALL,
    prepare: (scene) => {
      scene.put('local', 'd/a', 'first a');
      scene.put('local', 'd/b', 'first b');
    },
    whole: { 'd/a': ['first a'], 'd/b': ['first b'] },
    atRest: 'silent',
  },
  {
    name: 'upload: a changed file, the old one into the trash',
    work: 'run',
    job: { deletes: TRASH },
    servers: ALL,
    prepare: async (scene) => {
      scene.put('local', 'd/a', 'first a');
      await agree(scene);
      scene.put('local', 'd/a', 'second version of a', LATER);
    },
    whole: { 'd/a': ['first a', 'second version of a'] },
    atRest: 'silent',
  },
  {
    name: 'upload: a changed file over the old one',
    work: 'run',
    job: {},
    servers: ['scripted'],
    // What renames in two steps is swept where that is so; else it is as above.
    server: { renameOverwrites: false },
    prepare: async (scene) => {
      scene.put('local', 'a', 'first a');
      await agree(scene);
      scene.put('local', 'a', 'second version of a', LATER);
    },
    whole: { a: ['first a', 'second version of a'] },
    atRest: 'silent',
  },
  {
    name: 'upload: one that was cut off goes on',
    work: 'run',
    job: {},
    servers: ALL,
    prepare: (scene) => {
      scene.put('local', 'a', LARGE);
      scene.cutOff('a', '.ferryd-0123456789abcdef.part', LARGE.length - 100);
    },
    whole: { a: [LARGE] },
    atRest: 'silent',
  },
  {
    name: 'upload: a name that is tried out first',
    work: 'run',
    job: {},
    servers: ALL,
    prepare: async (scene) => {
      await agree(scene);
      scene.put('local', 'grün', 'first');
    },
    whole: { grün: ['first'] },
    atRest: 'silent',
  },
  {
    name: 'download: two new files in a new directory',
    work: 'run',
    job: { direction: 'pull' },
    servers: ALL,
    prepare: (scene) => {
      scene.put('remote', 'd/a', 'first a');
      scene.put('remote', 'd/b', 'first b');
    },
    whole: { 'd/a': ['first a'], 'd/b': ['first b'] },
    atRest: 'lists',
  },
  {
    name: 'download: a changed file, the old one into the trash',
    work: 'run',
    job: { direction: 'pull', deletes: TRASH },
    servers: ALL,
    prepare: async (scene) => {
      scene.put('remote', 'd/a', 'first a');
      await agree(scene);
      scene.put('remote', 'd/a', 'second version of a', LATER);
    },
    whole: { 'd/a': ['first a', 'second version of a'] },
    atRest: 'lists',
  },
  {
    name: 'rename: a conflict, the loser on the server',
    work: 'run',
    job: { mode: 'two-way', deletes: TRASH },
    servers: ALL,
    prepare: async (scene) => {
      scene.put('local', 'd/a.txt', 'agreed');
      await agree(scene);
      scene.put('remote', 'd/a.txt', 'written there', LATER);
      scene.put('local', 'd/a.txt', 'written here later', LATER + HOUR_MS);
    },
    whole: { 'd/a.txt': ['written there', 'written here later'] },
    atRest: 'lists',
  },
  {
    name: 'rename: a conflict, the loser here',
    work: 'run',
    job: { mode: 'two-way', deletes: TRASH },
    servers: ALL,
    prepare: async (scene) => {
      scene.put('local', 'd/a.txt', 'agreed');
      await agree(scene);
      scene.put('local', 'd/a.txt', 'written here', LATER);
      scene.put('remote', 'd/a.txt', 'written there later', LATER + HOUR_MS);
    },
    whole: { 'd/a.txt': ['written here', 'written there later'] },
    atRest: 'lists',
  },
  {
    name: 'delete: files on the server, and the directories that they leave empty',
    work: 'run',
    job: { mode: 'mirror', deletes: DELETE },
    servers: ALL,
    prepare: async (scene) => {
      for (const path of ['keep', 'd/e/a', 'd/e/b']) scene.put('local', path, `first ${path}`);
      await agree(scene);
      scene.drop('local', 'd');
    },
    whole: { keep: ['first keep'], 'd/e/a': ['first d/e/a'], 'd/e/b': ['first d/e/b'] },
    atRest: 'silent',
  },
  {
    name: 'delete: files here, and the directories that they leave empty',
    work: 'run',
    job: { mode: 'mirror', direction: 'pull', deletes: DELETE },
    servers: ALL,
    prepare: async (scene) => {
      for (const path of ['keep', 'd/e/a', 'd/e/b']) scene.put('remote', path, `first ${path}`);
      await agree(scene);
      scene.drop('remote', 'd');
    },
    whole: { keep: ['first keep'], 'd/e/a': ['first d/e/a'], 'd/e/b': ['first d/e/b'] },
    atRest: 'lists',
  },
  {
    name: 'delete: an empty directory that is an entry of its own, and a new one',
    work: 'run',
    job: { mode: 'mirror', emptyDirectories: 'keep', deletes: DELETE },
    servers: ALL,
    prepare: async (scene) => {
      scene.put('local', 'old/a', 'first a');
      scene.put('local', 'keep', 'first keep');
      await agree(scene);
      scene.drop('local', 'old');
      scene.put('local', 'new/a', 'first a');
      scene.drop('local', 'new/a');
    },
    whole: { keep: ['first keep'], 'old/a': ['first a'] },
    atRest: 'silent',
  },
  {
    name: 'move: to the server',
    work: 'run',
    job: { mode: 'move' },
    servers: ALL,
    prepare: async (scene) => {
      await agree(scene);
      scene.put('local', 'a', 'first a');
      scene.put('local', 'b', 'first b');
    },
    whole: { a: ['first a'], b: ['first b'] },
    atRest: 'silent',
  },
  {
    name: 'move: from the server',
    work: 'run',
    job: { mode: 'move', direction: 'pull' },
    servers: ALL,
    prepare: async (scene) => {
      scene.make('remote');
      await agree(scene);
      scene.put('remote', 'a', 'first a');
      scene.put('remote', 'b', 'first b');
    },
    whole: { a: ['first a'], b: ['first b'] },
    atRest: 'lists',
  },
  {
    name: 'trash: deleted on the server',
    work: 'run',
    job: { mode: 'mirror', deletes: TRASH },
    servers: ALL,
    prepare: async (scene) => {
      for (const path of ['keep', 'd/a', 'd/b']) scene.put('local', path, `first ${path}`);
      await agree(scene);
      scene.drop('local', 'd');
    },
    whole: { keep: ['first keep'], 'd/a': ['first d/a'], 'd/b': ['first d/b'] },
    atRest: 'silent',
  },
  {
    name: 'trash: deleted here',
    work: 'run',
    job: { mode: 'mirror', direction: 'pull', deletes: TRASH },
    servers: ALL,
    prepare: async (scene) => {
      for (const path of ['keep', 'd/a', 'd/b']) scene.put('remote', path, `first ${path}`);
      await agree(scene);
      scene.drop('remote', 'd');
    },
    whole: { keep: ['first keep'], 'd/a': ['first d/a'], 'd/b': ['first d/b'] },
    atRest: 'lists',
  },
  {
    name: 'trash: taken back on the server',
    work: 'restore',
    job: { mode: 'mirror', deletes: TRASH },
    servers: ALL,
    prepare: async (scene) => {
      scene.put('local', 'keep', 'first keep');
      scene.put('local', 'd/a', 'first a');
      await agree(scene);
      scene.drop('local', 'd');
      await scene.run(FIRST_MS - HOUR_MS);
    },
    whole: { keep: ['first keep'], 'd/a': ['first a'] },
    atRest: 'silent',
  },
  {
    name: 'trash: taken back here',
    work: 'restore',
    job: { mode: 'mirror', direction: 'pull', deletes: TRASH },
    servers: ALL,
    prepare: async (scene) => {
      scene.put('remote', 'keep', 'first keep');
      scene.put('remote', 'd/a', 'first a');
      await agree(scene);
      scene.drop('remote', 'd');
      await scene.run(FIRST_MS - HOUR_MS);
    },
    whole: { keep: ['first keep'], 'd/a': ['first a'] },
    atRest: 'lists',
  },
];
