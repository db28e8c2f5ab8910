/*
 * What a run would do, shown, written down, carried out as written or refused; and deletions that wait for a person.
 * Everything through the command line, against the scripted server.
 */
import { mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { Ended } from './command.js';
import { pathsBelow, Stage } from './stage.js';

/** Far from now, and apart from each other. */
const LONG_AGO = new Date('2022-03-04T05:06:07Z');

/** The lines of a plan but for those of files that were written a moment ago, and are looked into because of that. */
function linesOf({ stdout }: Ended): string[] {
  return stdout.split('\n').filter((line) => line !== '' && !line.startsWith('examine'));
}

/** The sentence under the lines, without what is said of files written a moment ago. */
function sentenceOf(ended: Ended): string {
  const sentence = linesOf(ended).find((line) => line.startsWith('A run would')) ?? '';
  return sentence.replace(/, look into \d+ files?/, '').replace(/; \d+ unchanged/, '; N unchanged');
}

/** The objects that `--json` prints. */
function jsonOf({ stdout }: Ended): Record<string, unknown>[] {
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** A stage with the server, and one run of a mirror behind it that has delivered these files. */
async function mirrored(
  paths: readonly string[],
  more: Readonly<Record<string, unknown>> = {},
  times: 'young' | 'believed' = 'young',
): Promise<AsyncDisposable & { readonly stage: Stage }> {
  const stage = await Stage.open();
  const server = await stage.server();
  await stage.writeNas(server);
  await stage.writePush('nightly', { mode: 'mirror', ...more });
  for (const path of paths) await stage.write(`source/${path}`, path);
  if (times === 'believed') await stage.settled();
  const first = await stage.run('nightly');
  expect(first.result).toMatchObject({ outcome: 'ok', uploaded: paths.length });
  return {
    stage,
    async [Symbol.asyncDispose]() {
      try {
        await stage[Symbol.asyncDispose]();
      } finally {
        await server.close();
      }
    },
  };
}

/** Deletes files of the source. */
async function remove(stage: Stage, ...paths: readonly string[]): Promise<void> {
  for (const path of paths) await rm(stage.at('source', path));
}

/** What is on the server, the trash without its date. */
async function there(stage: Stage): Promise<string[]> {
  const paths = await pathsBelow(stage.at('remote/in'));
  return paths.map((path) => path.replace(/\d{8}T\d{6}Z/, 'DATE')).sort();
}

const LIMIT_NONE = { deletes: { limit: { percent: 0, files: 0 } } };

describe('what is shown', () => {
  test('a mirror: each path with why, and the sums', async () => {
    await using world = await mirrored(['gone.txt', 'changed.txt', 'same.txt', 'deep/gone.txt']);
    const { stage } = world;
    await remove(stage, 'gone.txt', 'deep/gone.txt');
    await stage.write('source/changed.txt', 'something else');
    await stage.write('source/new.txt', 'new');
    await symlink('same.txt', stage.at('source/way'));
    const planned = await stage.ferryd('plan', 'nightly');
    expect(planned.code).toBe(0);
    expect(linesOf(planned)).toEqual([
      'upload   changed.txt  (changed, 14 B)',
      'trash    deep/gone.txt  (on the server: gone at the source, 13 B, into .ferryd-trash)',
      'trash    gone.txt  (on the server: gone at the source, 8 B, into .ferryd-trash)',
      'upload   new.txt  (new, 3 B)',
      expect.stringMatching(/^ignore {3}way {2}\(/),
      expect.stringMatching(/^A run would upload 2 files \(17 B\)/),
    ]);
    expect(sentenceOf(planned)).toBe(
      'A run would upload 2 files (17 B), move 2 files on the server into the trash (21 B); N unchanged, 1 ignored. What is replaced goes into .ferryd-trash.',
    );
    expect(planned.stdout).not.toContain('\x1b');
    expect(await there(stage)).toEqual(['changed.txt', 'deep/gone.txt', 'gone.txt', 'same.txt']);

    expect((await stage.run('nightly')).result).toMatchObject({ uploaded: 2, deleted: 2 });
    expect(await there(stage)).toEqual([
      '.ferryd-trash/DATE/changed.txt',
      '.ferryd-trash/DATE/deep/gone.txt',
      '.ferryd-trash/DATE/gone.txt',
      'changed.txt',
      'new.txt',
      'same.txt',
    ]);
  });

  test('without a trash a deletion is called so, and so is what was never put there', async () => {
    const deletes = { policy: 'delete', extraneous: true };
    await using world = await mirrored(['gone.txt', 'same.txt'], { deletes });
    const { stage } = world;
    await remove(stage, 'gone.txt');
    await stage.write('remote/in/foreign.txt', 'foreign');
    const planned = await stage.ferryd('plan', 'nightly');
    expect(linesOf(planned).slice(0, 2)).toEqual([
      'delete   foreign.txt  (on the server: not in the source, 7 B)',
      'delete   gone.txt  (on the server: gone at the source, 8 B)',
    ]);
    expect(sentenceOf(planned)).toBe(
      'A run would upload 0 files (0 B), delete 2 files on the server (15 B); N unchanged.',
    );
  });

  test('two-way: which side, which version, and which name', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('both', { mode: 'two-way' });
    for (const path of ['a.txt', 'b.txt', 'c.txt', 'd.txt']) await stage.write(`source/${path}`, path);
    await stage.settled();
    expect((await stage.run('both')).result).toMatchObject({ outcome: 'ok', uploaded: 4 });
    await rm(stage.at('source/a.txt'));
    await rm(stage.at('remote/in/b.txt'));
    await stage.write('source/c.txt', 'changed here');
    await stage.write('remote/in/c.txt', 'and there as well');
    await utimes(stage.at('remote/in/c.txt'), LONG_AGO, LONG_AGO);
    await stage.write('remote/in/d.txt', 'changed on the server');
    await stage.write('remote/in/e.txt', 'new there');
    await stage.write('source/f.txt', 'new here');

    const planned = await stage.ferryd('plan', 'both');
    expect(planned.code).toBe(0);
    expect(linesOf(planned).slice(0, -1)).toEqual([
      'trash     a.txt  (on the server: gone here, 5 B, into .ferryd-trash)',
      'trash     b.txt  (here: gone on the server, 5 B, into .ferryd-trash)',
      'keep-both c.txt  (changed on both sides; the one on the server is kept as c.conflict-<date>-<time>.txt, 29 B both)',
      'download  d.txt  (changed, 21 B)',
      'download  e.txt  (new, 9 B)',
      'upload    f.txt  (new, 8 B)',
    ]);
    expect(jsonOf(await stage.ferryd('--json', 'plan', 'both')).at(-1)).toMatchObject({
      job: 'both',
      summary: {
        upload: { files: 1, bytes: 8 },
        download: { files: 2, bytes: 30 },
        'keep-both': { files: 1, bytes: 29 },
      },
      refusal: null,
      held: null,
    });
    const { code, result } = await stage.run('both');
    expect({ code, outcome: result.outcome }).toEqual({ code: 0, outcome: 'ok' });
    const here = await pathsBelow(stage.at('source'));
    expect(here.filter((path) => /^c\.conflict-\d{8}-\d{6}\.txt$/.test(path))).toHaveLength(1);
  });

  test('what is left as it is has one line, with what to do about it', async () => {
    await using world = await mirrored(['gone.txt', 'same.txt'], { compare: 'remote' });
    const { stage } = world;
    await remove(stage, 'gone.txt');
    await stage.write('remote/in/gone.txt', 'changed by somebody');
    const planned = await stage.ferryd('plan', 'nightly');
    expect(planned.code).toBe(0);
    expect(linesOf(planned)).toEqual([
      'skip     gone.txt  (gone.txt is gone at the source, and was changed on the server since it was put there: it is not deleted. Delete it by hand, or set deletes.extraneous.)',
      expect.stringMatching(/^A run would upload 0 files .+ unchanged, 1 skipped\.$/),
    ]);

    await stage.write('target/same.txt', 'not what was fetched');
    await stage.writeJob('fetch', { from: 'nas:in', to: '../target', compare: 'remote' });
    expect(linesOf(await stage.ferryd('plan', 'fetch'))).toEqual([
      'download gone.txt  (new, 19 B)',
      expect.stringMatching(
        /^blocked {2}same\.txt {2}\(same\.txt exists here and is not what was fetched last/,
      ),
      expect.stringMatching(/^A run would download 1 file \(19 B\); 0 unchanged, 1 blocked\.$/),
    ]);
  });
});

describe('a plan in a file', () => {
  test('is one document with one action a line, for its owner alone, and is carried out as it stands', async () => {
    // More than a run may delete without being asked: saying yes to the plan says yes to that.
    await using world = await mirrored(['gone.txt', 'changed.txt', 'same.txt'], LIMIT_NONE);
    const { stage } = world;
    await remove(stage, 'gone.txt');
    await stage.write('source/changed.txt', 'something else');
    await stage.write('source/deep/new.txt', 'new');
    const planned = await stage.ferryd('plan', 'nightly', '-o', 'plan.json');
    expect(planned.code).toBe(6);
    expect(planned.stdout).toContain(`The plan is in ${stage.at('plan.json')} (`);
    expect(planned.words.join(' ')).toContain('A run would be held: Job nightly would delete 1 file');
    expect(planned.words.join(' ')).toContain(
      `"ferryd apply ${stage.at('plan.json')}" carries out exactly this plan`,
    );
    expect((await stat(stage.at('plan.json'))).mode & 0o777).toBe(0o600);
    const text = await readFile(stage.at('plan.json'), 'utf8');
    const plan = JSON.parse(text) as {
      job: string;
      actions: { kind: string; path: string }[];
      count: number;
    };
    expect(plan).toMatchObject({ ferryd: 'plan', version: 1, job: 'nightly' });
    const actions = plan.actions.filter(({ kind }) => kind !== 'examine');
    expect(actions.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
      'upload changed.txt',
      'upload deep/new.txt',
      'remove gone.txt',
    ]);
    expect(text.trimEnd().split('\n')).toHaveLength(plan.count + 2);
    // A plan makes room for a newer one.
    expect((await stage.ferryd('plan', 'nightly', '--output', 'plan.json')).code).toBe(6);

    const applied = await stage.ferryd('--json', 'apply', 'plan.json');
    expect(applied.words).toEqual([]);
    expect(JSON.parse(applied.stdout)).toMatchObject({ outcome: 'ok', uploaded: 2, deleted: 1, skipped: 0 });
    expect(applied.code).toBe(0);
    expect(await there(stage)).toEqual([
      '.ferryd-trash/DATE/changed.txt',
      '.ferryd-trash/DATE/gone.txt',
      'changed.txt',
      'deep/new.txt',
      'same.txt',
    ]);
    expect((await stage.ferryd('history')).stdout).toContain('by hand, as planned');

    const twice = await stage.ferryd('apply', 'plan.json');
    expect(twice.code).toBe(6);
    expect(twice.words[0]).toContain('does not fit any more. Nothing was done.');
    expect(twice.words.join('\n')).toContain(
      'gone.txt: the plan is to delete it on the server, and there is nothing to do about it now.',
    );
  });

  test('is refused when anything has moved on either side, and then nothing at all is done', async () => {
    const files = ['a.txt', 'b.txt', 'c.txt', 'd.txt', 'e.txt', 'f.txt', 'gone.txt', 'gone too.txt'];
    await using world = await mirrored(
      files,
      { compare: 'remote', deletes: { extraneous: true } },
      'believed',
    );
    const { stage } = world;
    await remove(stage, 'gone.txt', 'gone too.txt');
    await stage.write('source/a.txt', 'changed once');
    await stage.write('source/b.txt', 'changed once');
    expect((await stage.ferryd('plan', 'nightly', '-o', 'plan.json')).code).toBe(0);

    await stage.write('source/a.txt', 'changed twice');
    await stage.write('source/added.txt', 'x');
    await utimes(stage.at('source/b.txt'), LONG_AGO, LONG_AGO);
    await remove(stage, 'c.txt');
    await stage.write('remote/in/d.txt', 'somebody else was here');
    await rm(stage.at('remote/in/e.txt'));
    await stage.write('remote/in/foreign.txt', 'foreign');
    await rm(stage.at('remote/in/gone.txt'));
    const before = await there(stage);
    const { code, words, stdout } = await stage.ferryd('apply', 'plan.json');
    expect({ code, stdout }).toEqual({ code: 6, stdout: '' });
    expect(words.map((line) => line.trim()).slice(1, -1)).toEqual([
      'a.txt: the plan is to upload it, but it had 12 B here, and has 13 B now.',
      'added.txt: not in the plan, and a run would upload it now.',
      'b.txt: the plan is to upload it, but it was modified here since.',
      'c.txt: not in the plan, and a run would delete it on the server now.',
      'd.txt: not in the plan, and a run would upload it now.',
      'e.txt: not in the plan, and a run would upload it now.',
      'foreign.txt: not in the plan, and a run would delete it on the server now.',
      'gone.txt: the plan is to delete it on the server; a run would forget it now.',
    ]);
    expect(words.at(-1)).toBe(`Make a new one with "ferryd plan nightly -o ${stage.at('plan.json')}".`);
    expect(await there(stage)).toEqual(before);
  });

  test('is refused when the job is another one now, or the file is', async () => {
    await using world = await mirrored(['gone.txt', 'a.txt']);
    const { stage } = world;
    await remove(stage, 'gone.txt');
    expect((await stage.ferryd('plan', 'nightly', '-o', 'plan.json')).code).toBe(0);
    const text = await readFile(stage.at('plan.json'), 'utf8');
    const refused = async (): Promise<string> => {
      const { code, words, stdout } = await stage.ferryd('apply', 'plan.json');
      expect({ code, stdout }).toEqual({ code: 6, stdout: '' });
      expect(await there(stage)).toEqual(['a.txt', 'gone.txt']);
      return words.join('\n');
    };

    await stage.writePush('nightly', { mode: 'mirror', deletes: { policy: 'delete' } });
    expect(await refused()).toContain('deletes.policy of the job was trash, and is delete now.');
    await stage.writePush('nightly', { mode: 'mirror', to: 'nas:elsewhere' });
    expect(await refused()).toContain("The job's place on the server was in, and is elsewhere now.");
    await stage.writePush('nightly', { mode: 'mirror' });

    for (const [wrong, sentence] of [
      [text.replace('gone.txt', 'a.txt'), 'is damaged, or was changed since it was written'],
      [text.slice(0, -40), 'is damaged, or was changed since it was written'],
      [text.split('\n')[0] ?? '', 'is damaged, or was changed since it was written'],
      [
        text.replace('"version":1', '"version":7'),
        'another version of ferryd (its format is 7, this one reads 1)',
      ],
    ] as const) {
      await stage.write('plan.json', wrong);
      expect(await refused()).toContain(sentence);
    }
    await stage.write('plan.json', text);
    expect((await stage.ferryd('apply', 'plan.json')).code).toBe(0);
    expect(await there(stage)).toEqual(['.ferryd-trash/DATE/gone.txt', 'a.txt']);
  });

  test('that is interrupted leaves nothing behind', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.write('remote/out/a.txt', 'from afar');
    await mkdir(stage.at('target'));
    await stage.writeJob('fetch', { from: 'nas:out', to: '../target' });
    server.script({ on: 'MLSD', do: { kind: 'dataStall', atByte: 0 } });
    const plan = stage.start(['plan', 'fetch', '-o', 'plan.json']);
    await server.waitFor('MLSD');
    const { code, stdout } = await plan.end('SIGINT');
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
    expect((await readdir(stage.directory.path)).filter((name) => name.includes('plan.json'))).toEqual([]);
  });

  test('takes the place of nothing but an older plan, and what is no plan is not carried out', async () => {
    await using world = await mirrored(['a.txt']);
    const { stage } = world;
    await stage.write('notes.txt', 'mine');
    await mkdir(stage.at('directory'));
    await symlink('notes.txt', stage.at('way'));
    for (const [file, words] of [
      ['notes.txt', 'is not a plan of ferryd: it is not overwritten'],
      ['directory', 'is not a regular file: it is not overwritten'],
      ['way', 'is not a regular file: it is not overwritten'],
      ['nowhere/plan.json', 'cannot be written: no such file or directory'],
    ] as const) {
      const planned = await stage.ferryd('plan', 'nightly', '-o', file);
      expect(planned.code).toBe(2);
      expect(planned.words.join('\n')).toContain(words);
    }
    for (const [file, words] of [
      ['notes.txt', 'is not a plan of ferryd'],
      ['directory', 'is not a regular file'],
      ['missing.json', 'cannot be read: no such file or directory'],
    ] as const) {
      const applied = await stage.ferryd('apply', file);
      expect(applied.code).toBe(2);
      expect(applied.words.join('\n')).toContain(words);
    }
    expect(await readFile(stage.at('notes.txt'), 'utf8')).toBe('mine');
    expect((await readdir(stage.directory.path)).filter((name) => name.includes('.part'))).toEqual([]);
  });
});

describe('what is held', () => {
  test('waits for a person: status and plan say so, approve releases exactly that', async () => {
    const files = ['a.txt', 'b.txt', 'c.txt', 'd.txt', 'e.txt', 'f.txt'];
    await using world = await mirrored(files, { deletes: { limit: { percent: 0, files: 1 } } });
    const { stage } = world;
    await remove(stage, 'a.txt', 'b.txt', 'c.txt');
    expect((await stage.ferryd('plan', 'nightly')).code).toBe(6);
    const none = await stage.ferryd('approve', 'nightly');
    expect({ code: none.code, stdout: none.stdout }).toEqual({ code: 1, stdout: '' });
    expect(none.words.join('')).toContain('Job nightly is not held: there is nothing to release.');

    const held = await stage.run('nightly');
    expect(held.code).toBe(6);
    expect(held.result).toMatchObject({ outcome: 'held', deleted: 0, failure: { code: 'deletions' } });
    expect(await there(stage)).toEqual(files);
    const waits =
      'the deletion of 3 files waits for you: "ferryd plan nightly" shows what a run would do, "ferryd approve nightly" releases it.';
    expect((await stage.ferryd('status', 'nightly')).stdout).toMatch(
      /^ {2}held +since .+, run 2; the deletion of 3 files waits/m,
    );
    const planned = await stage.ferryd('plan', 'nightly');
    expect(planned.code).toBe(6);
    expect(planned.stdout).toContain(waits);
    expect(planned.words.join('')).toContain('"ferryd approve nightly" releases what is held already.');
    expect(JSON.parse((await stage.ferryd('--json', 'status', 'nightly')).stdout)).toMatchObject({
      held: { run: 2, code: 'deletions', files: 3, directories: 0, releasedAt: null },
    });

    // Pointed elsewhere, the job would delete something else.
    const job = await readFile(stage.at('jobs/nightly.yaml'), 'utf8');
    await stage.writePush('nightly', { mode: 'mirror', to: 'nas:elsewhere' });
    const elsewhere = await stage.ferryd('approve', 'nightly');
    expect(elsewhere.code).toBe(1);
    expect(elsewhere.words.join('')).toContain('when its job file named other places');
    await stage.write('jobs/nightly.yaml', job);

    const approved = await stage.ferryd('approve', 'nightly');
    expect(approved.code).toBe(0);
    expect(approved.stdout).not.toContain('See what it is about');
    expect(approved.stdout).toMatch(
      /Released now: the deletion of 3 files\.\n {2}trash {2}a\.txt {2}5 B {2}on the server, into \.ferryd-trash\n/,
    );
    expect(approved.stdout).toContain('"ferryd run nightly" starts one now.');
    const again = await stage.ferryd('approve', 'nightly');
    expect(again.code).toBe(0);
    expect(again.stdout).toContain('The deletion of 3 files was released already, ');
    const released = await stage.ferryd('plan', 'nightly');
    expect(released.code).toBe(0);
    expect(released.stdout).toMatch(
      /the deletion of 3 files was released .+, and the next run carries it out\.\n$/,
    );
    expect(await there(stage)).toEqual(files);

    // What goes after that waits for the limit on its own.
    await remove(stage, 'd.txt', 'e.txt');
    const some = await stage.run('nightly');
    expect(some.code).toBe(6);
    expect(some.result).toMatchObject({ outcome: 'held', deleted: 3 });
    expect(some.result.failure?.message).toContain('would delete 2 files');
    const trash = ['a.txt', 'b.txt', 'c.txt'].map((path) => `.ferryd-trash/DATE/${path}`);
    expect(await there(stage)).toEqual([...trash, 'd.txt', 'e.txt', 'f.txt']);

    const second = await stage.ferryd('--json', 'approve', 'nightly');
    expect(jsonOf(second)).toMatchObject([
      {
        job: 'nightly',
        released: true,
        held: { code: 'deletions', files: 2 },
        paths: [
          { path: 'd.txt', side: 'remote', bytes: 5 },
          { path: 'e.txt', side: 'remote', bytes: 5 },
        ],
      },
    ]);
    const last = await stage.run('nightly');
    expect(last.result).toMatchObject({ outcome: 'ok', deleted: 2 });
    expect(await there(stage)).toEqual([
      ...trash,
      '.ferryd-trash/DATE/d.txt',
      '.ferryd-trash/DATE/e.txt',
      'f.txt',
    ]);
    expect((await stage.ferryd('status', 'nightly')).stdout).not.toMatch(/^ {2}held/m);
  });

  test('without deletions there is nothing to release, and the sentence says what helps', async () => {
    await using stage = await Stage.open();
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly', { marker: '.mounted' });
    await stage.write('source/a.txt', 'x');
    expect((await stage.run('nightly')).result.failure).toMatchObject({ code: 'marker-missing' });
    const marker = await stage.ferryd('approve', 'nightly');
    expect(marker.code).toBe(1);
    expect(marker.words.join('')).toMatch(
      /is held since .+, and not over deletions: there is nothing to release\. The marker \.mounted/,
    );
    expect((await stage.ferryd('status', 'nightly')).stdout).toMatch(
      /^ {2}held +since .+ The marker \.mounted/m,
    );

    await writeFile(stage.at('source/.mounted'), '');
    expect((await stage.run('nightly')).result).toMatchObject({ outcome: 'ok' });
    await rm(stage.at('source/a.txt'));
    await stage.writePush('nightly');
    await rm(stage.at('source/.mounted'));
    expect((await stage.run('nightly')).result.failure).toMatchObject({ code: 'source-empty' });
    const empty = await stage.ferryd('approve', 'nightly');
    expect(empty.code).toBe(1);
    expect(empty.words.join('')).toContain('give the job another name.');
    const none = await stage.ferryd('approve', 'nope');
    expect(none.code).toBe(2);
  });

  test('of a source that is empty on purpose, all that was in it is released', async () => {
    await using world = await mirrored(['a.txt', 'b.txt']);
    const { stage } = world;
    await remove(stage, 'a.txt', 'b.txt');
    const planned = await stage.ferryd('plan', 'nightly');
    expect(planned.code).toBe(6);
    expect(planned.words.join('')).toMatch(
      /A run would be held: The source .+ has no file for this job, and 2 were delivered/,
    );
    expect((await stage.run('nightly')).code).toBe(6);
    expect((await stage.ferryd('approve', 'nightly')).code).toBe(0);
    expect((await stage.run('nightly')).result).toMatchObject({ outcome: 'ok', deleted: 2 });
    expect(await there(stage)).toEqual(['.ferryd-trash/DATE/a.txt', '.ferryd-trash/DATE/b.txt']);
  });
});
