/* A watch job with ready markers: the marker is what starts the run that sends its file. */
import { EventEmitter, once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { Daemon } from '../../src/daemon/daemon.js';
import { World } from '../run/support/voyage.js';

let world: World;
let daemon: Daemon | undefined;

afterEach(async () => {
  await daemon?.stop('the end of the test');
  daemon = undefined;
  await world[Symbol.asyncDispose]();
});

test('the arrival of a marker sends its file, and only its file', async () => {
  world = await World.open({
    job: {
      ready: { before: '', part: 'name', behind: '.done' },
      triggers: [{ kind: 'watch', settleMs: 20, rescanMs: 3_600_000 }],
    },
  });
  await world.put('a');
  await world.put('sub/b');
  const heard = new EventEmitter();
  const uploaded: string[] = [];
  const next = (event: string): Promise<unknown> =>
    once(heard, event, { signal: AbortSignal.timeout(10_000) });
  const looked = next('run.ended');
  daemon = await Daemon.start({
    jobs: [world.job],
    agent: { log: { level: 'info' }, stop: { withinMs: 10_000 }, runsAtOnce: 4 },
    ledger: world.ledger,
    wire: 'silent',
    listener: (event) => {
      if (event.event === 'file.uploaded') uploaded.push(event.path);
      heard.emit(event.event);
    },
  });
  await looked;
  expect(uploaded).toEqual([]);
  const first = next('file.uploaded');
  await world.put('sub/b.done', '');
  await first;
  const second = next('file.uploaded');
  await world.put('a.done', '');
  await second;
  expect(uploaded).toEqual(['sub/b', 'a']);
  expect(world.held()).toEqual({ a: 'a', 'sub/b': 'sub/b' });
});
