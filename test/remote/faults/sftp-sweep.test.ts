/* The sweep itself is tested: what it is there to find it finds. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { operations } from './sftp-operations.js';
import { type Operation, type Point, problemsOf, type Scene } from './sftp-sweep.js';

const point: Point = {
  name: 'any',
  rules: [{ on: 'LSTAT', do: { kind: 'status', code: 3 } }],
  judged: /^(?:done|skip PERMISSION_DENIED)$/,
};

/** Meets the fault, and then does something of its own. */
function careless(work: (scene: Scene) => unknown): Operation {
  return {
    ...operations['over a file'],
    work: async (scene) => {
      await scene.remote.stat('file').catch(() => {});
      return work(scene);
    },
  };
}

const whole = { sha256: '', bytes: 0 };

test.each<[string, Operation, RegExp]>([
  [
    'a half file',
    careless(({ disk, remote }) => {
      writeFileSync(join(disk, 'file'), 'half');
      return remote.stat('file').then(() => whole);
    }),
    /file holds 4 bytes and is not whole/,
  ],
  [
    'a lost file',
    careless(({ remote }) => remote.remove('file').then(() => whole)),
    /what stood at file is lost/,
  ],
  ['what was not done', careless(() => whole), /done, but it holds/],
  [
    'an error that is not judged as it should be',
    careless(() => Promise.reject(new Error('\u001b[31mred'))),
    /it was judged abort unexpected.*unfit to print/s,
  ],
  [
    'a handle that stays open',
    careless(async ({ remote }) => {
      // Breaks off in the middle, and nobody closes the file: the sink never ends.
      void remote.fetch('file', () => new Promise(() => {})).catch(() => {});
      await remote.stat('file');
      return whole;
    }),
    /something is open on the server still/,
  ],
])('%s', async (_what, operation, found) => {
  expect((await problemsOf(operation, [point])).join('\n')).toMatch(found);
});

test('nothing, where nothing is wrong', async () => {
  expect(await problemsOf(operations['over a file'], [point])).toEqual([]);
});
