/* A watch job with ready markers: the marker is what starts the run that sends its file. */
import { EventEmitter, once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { Daemon } from '../../src/daemon/daemon.js';
import { markerOf } from '../../src/run/ready.js';
import { World } from '../run/support/voyage.js';

let world: World;
let daemon: Daemon | undefined;

afterEach(async () => {
  await daemon?.stop('the end of the test');
  daemon = undefined;
  await world[Symbol.asyncDispose]();
});

test.each([
  ['by itself', {}],
  ['left out by the patterns', { exclude: ['**/*.done'] }],
  ['a hidden one', { hidden: 'skip', ready: { before: '.', part: 'name', behind: '.done' } }],
] as const)('the arrival of a marker, %s, sends its file, and only its file', async (_, keys) => {
  world = await World.open({
    job: {
      ready: { before: '', part: 'name', behind: '.done' },
      triggers: [{ kind: 'watch', settleMs: 20, rescanMs: 3_600_000, events: 'auto', pollMs: 30_000 }],
      ...keys,
    },
  });
  await world.put('a');
  await world.put('sub/b');
  const { ready } = world.job;
  if (ready === undefined) throw new Error('the job has markers');
  const heard = new EventEmitter();
  const uploaded: string[] = [];
  const next = (event: string): Promise<unknown> =>
    once(heard, event, { signal: AbortSignal.timeout(10_000) });
  const looked = next('run.ended');
  daemon = await Daemon.start({
    configuration: {
      jobs: [world.job],
      agent: {
        log: { level: 'info', files: 'show', file: undefined },
        stop: { withinMs: 10_000 },
        runsAtOnce: 4,
        history: { keepMs: 86_400_000 },
        notify: [],
      },
      problems: [],
      directory: '/jobs',
    },
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
  await world.put(markerOf('sub/b', ready), '');
  await first;
  const second = next('file.uploaded');
  await world.put(markerOf('a', ready), '');
  await second;
  expect(uploaded).toEqual(['sub/b', 'a']);
  expect(world.held()).toEqual({ a: 'a', 'sub/b': 'sub/b' });
});
