/*
 * Names over FTPS, through the command line: variables in the target's path, names that some side cannot hold, and names
 * that are hard on servers and clients, there and back again.
 */
import { readdir, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { expect, test, vi } from 'vitest';
import { describeReal } from '../support/real-server.js';
import { RealStage, SERVERS } from './real-stage.js';

// Many processes one after the other, on a machine that may have other work.
vi.setConfig({ testTimeout: 90_000 });

const THEN_S = 1_700_000_000;
/** Half an hour before February in UTC: in February already in Kiritimati, fourteen hours ahead. */
const LATE_JANUARY_S = Date.UTC(2026, 0, 31, 23, 30) / 1000;

for (const name of ['vsftpd', 'openssh'] as const) {
  describeReal(name, `names, ${name}`, () => {
    test('{host}, {job} and {date}: a mirror has a directory of its own, and sees only that', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      await real.job('web', 'from: ../source', 'to: "nas:all/{host}/{job}"', 'mode: mirror');
      await real.put('source', { a: 'a', b: 'b' }, THEN_S);
      await real.put('remote/all', { 'elsewhere/web/c': 'c' });
      await real.run('web');
      await real.drop('source', 'b');
      expect((await real.run('web')).counts).toEqual([0, 0, 1, 0]);
      const own = `${hostname()}/web`;
      expect(await real.held('remote/all')).toMatchObject({ [`${own}/a`]: 'a', 'elsewhere/web/c': 'c' });
      expect(await real.trash(`remote/all/${own}`)).toEqual(['b = b']);

      // A day's directory: the run's date in the job's zone, which need not be this machine's.
      await real.job(
        'daily',
        'from: ../source',
        'to: "nas:days/{date:yyyy-MM-dd}"',
        'timezone: Pacific/Kiritimati',
      );
      const dayOf = (ms: number): string => new Date(ms + 14 * 3_600_000).toISOString().slice(0, 10);
      const days = [dayOf(Date.now())];
      expect((await real.run('daily')).counts).toEqual([1, 0, 0, 0]);
      days.push(dayOf(Date.now()));
      const made = await readdir(real.stage.at('remote/days'));
      expect(made).toHaveLength(1);
      expect(days).toContain(made[0]);
    });

    test('{mtime}: files sorted by their months, pushed and fetched, moved and copied', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      const zone = 'timezone: Pacific/Kiritimati';
      await real.job('camera', 'from: ../source', 'to: "nas:photos/{mtime:yyyy/MM}"', zone);
      await real.job('fetch', 'from: nas:out', 'to: "../target/{mtime:yyyy-MM}"', 'mode: move', zone);
      await real.put('source', { 'one.jpg': 'one', 'trip/two.jpg': 'two' }, LATE_JANUARY_S);
      await real.put('source', { 'three.jpg': 'three' }, LATE_JANUARY_S - 86_400);
      expect((await real.run('camera')).counts).toEqual([3, 0, 0, 0]);
      const sorted = {
        '2026/02/one.jpg': 'one',
        '2026/02/trip/two.jpg': 'two',
        '2026/01/three.jpg': 'three',
      };
      expect(await real.held('remote/photos')).toEqual(sorted);
      const before = await real.heard();
      expect((await real.run('camera')).counts).toEqual([0, 0, 0, 0]);
      expect(await real.heard()).toEqual(before);
      // A changed file goes to its new place; the old one stays where it is.
      await real.put('source', { 'three.jpg': 'three again' }, LATE_JANUARY_S);
      expect((await real.run('camera')).counts).toEqual([1, 0, 0, 0]);
      expect(await real.held('remote/photos')).toEqual({ ...sorted, '2026/02/three.jpg': 'three again' });

      await real.put('remote/out', { 'a.txt': 'a', 'sub/b.txt': 'b' }, LATE_JANUARY_S);
      expect((await real.run('fetch')).counts).toEqual([0, 2, 0, 0]);
      expect(await real.held('target')).toEqual({ '2026-02/a.txt': 'a', '2026-02/sub/b.txt': 'b' });
      expect(await real.held('remote/out')).toEqual({});
    });
  });
}

for (const name of ['vsftpd', 'proftpd', 'pure-ftpd', 'openssh'] as const) {
  describeReal(name, `hard names, ${name}`, () => {
    test('they arrive as they are, or encoded and decoded again, or are told; none is merged with another', async () => {
      await using real = await RealStage.open(SERVERS[name]);
      const hard = [
        'Ünï/日本 語.txt',
        'quote"s',
        '#hash%20',
        '-dash',
        'a  b',
        '[glob]*?',
        '{brace}',
        'ca\u0301fe',
      ];
      const long = `${'n'.repeat(250)}.txt`;
      const files = Object.fromEntries([...hard, 'Case', 'case'].map((path) => [path, `of ${path}`]));
      await real.put('source', files, THEN_S);
      await real.job('plain', 'from: ../source', 'to: nas:plain', 'mode: mirror');
      await real.job('encoded', 'from: ../source', 'to: nas:encoded', 'mode: two-way', 'names: encode');
      await real.job('back', 'from: nas:encoded', 'to: ../target', 'names: encode');
      // A line break would be the end of the command.
      await writeFile(real.stage.at('source', 'line\nbreak'), 'broken');
      const plain = await real.run('plain', 3);
      const sent = Object.keys(await real.held('remote/plain'));
      // What a server alters on the way is told by name, and not sent under another one.
      expect(plain.counts[0] + plain.counts[3]).toBe(11);
      expect(plain.counts[0]).toBe(sent.length);
      const skipped = plain.log.filter(({ event }) => /file\.skipped|scan\.problem/.test(event));
      expect([...sent, ...skipped.map(({ path }) => path)].sort()).toEqual(
        [...Object.keys(files), 'line\\nbreak'].sort(),
      );
      expect(await real.held('remote/plain')).toEqual(
        Object.fromEntries(sent.map((path) => [path, files[path]])),
      );

      // 255 bytes are a name, as long as nothing has to be added to it.
      await real.put(
        'source',
        { [long.slice(4)]: 'longest', [`%${long.slice(1)}`]: 'too long encoded' },
        THEN_S,
      );
      const encoded = await real.run('encoded', 3);
      expect(encoded.warnings).toContainEqual(expect.stringContaining('longer than the 255 bytes'));
      const there = Object.keys(await real.held('remote/encoded'));
      expect(there).toEqual(expect.arrayContaining(['quote%22s', '#hash%2520', 'line%0Abreak']));
      expect(there.filter((path) => /["*?\n]/.test(path))).toEqual([]);
      await real.run('back');
      const all = { ...files, 'line\nbreak': 'broken', [long.slice(4)]: 'longest' };
      expect(await real.held('target')).toEqual(all);
      expect((await real.run('encoded', 3)).counts.slice(0, 3)).toEqual([0, 0, 0]);
      // What a person there calls so is fetched under its own name, and comes back under theirs.
      await real.put('remote/encoded', { 'new%3F': 'new' }, THEN_S);
      await real.drop('remote/encoded', 'quote%22s');
      await real.drop('source', '[glob]*?');
      await real.put('source', { 'line\nbreak': 'changed' });
      expect((await real.run('encoded', 3)).counts.slice(0, 3)).toEqual([1, 1, 2]);
      expect((await stat(real.stage.at('source/new?'))).size).toBe(3);
      expect(Object.keys(await real.held('source'))).not.toContain('quote"s');
      const left = await real.held('remote/encoded');
      expect(left['line%0Abreak']).toBe('changed');
      expect(Object.keys(left).filter((path) => path.includes('glob'))).toEqual([]);
      // A mirror pull decodes them as well, and takes away here what is gone there.
      await real.job('back', 'from: nas:encoded', 'to: ../target', 'names: encode', 'mode: mirror');
      await real.run('back');
      expect(Object.keys(await real.held('target')).sort()).toEqual(
        [...Object.keys(all).filter((path) => !/quote|glob/.test(path)), 'new?'].sort(),
      );
    });
  });
}
