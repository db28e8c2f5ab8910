/*
 * A removal that overtakes what it is to remove: the source changes while it is sent, the connection is broken off, and
 * on another one the server is asked to remove the part that it has not begun to write yet. What it makes later must
 * not stay for ever.
 */
import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { World } from '../run/support/voyage.js';

let world: World;
afterEach(() => world[Symbol.asyncDispose]());

it('what a server stores after it was told to remove it goes with the next run', async () => {
  world = await World.open();
  await mkdir(world.remote(''), { recursive: true });
  await world.put('f', 'first');
  let part = '';
  // Read by the server, and not carried out yet.
  world.server.script({ on: 'STOR', do: { kind: 'delay', ms: 2_000 } });
  const heard = world.server.on('command', (verb, path) => {
    if (verb !== 'STOR') return;
    part = world.directory.join('remote', path);
    writeFileSync(world.local('f'), 'changed while it is sent');
    heard();
  });
  const answered = world.server.on('reply', (text, verb) => {
    if (part === '' || !text.startsWith('550') || !['SIZE', 'DELE'].includes(verb)) return;
    answered();
    // Carried out now, when it has just said that there is no such file.
    writeFileSync(part, '');
  });
  expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { uploaded: 1 } });
  await world.server.until((journal) => journal.open === 0);
  expect(world.held()).toMatchObject({ f: 'changed while it is sent' });
  expect(world.temporaries()).toEqual([basename(part)]);
  expect(world.intents()).toMatchObject([{ path: 'f', temporary: basename(part) }]);
  expect(await world.run()).toMatchObject({ outcome: 'ok', tally: { unchanged: 1 } });
  world.expectConverged();
});
