/*
 * The contract against a real server at the far end of a slow link: what link.test.ts runs at the near end, in a vitest
 * of its own. Which server, and where, stands in the environment. No `.test.` in its name: it means nothing by itself.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Place } from '../support/place.js';
import { type RealSshServer, startSshd } from '../support/servers/openssh.js';
import { noTlsSettings } from './berth.js';
import {
  deliveryOf,
  fetched,
  filesBelow,
  remoteContract,
  sha256,
  sourceOf,
  type Traits,
} from './contract.js';
import { kinds, RealBerth } from './real-berth.js';
import { RealSftpBerth } from './real-sftp-berth.js';

const { FERRYD_FAR = '', FERRYD_SERVER = '', FERRYD_SECURITY = '' } = process.env;
const far: Place = JSON.parse(FERRYD_FAR);

/** A server at the far end. */
interface Harbour extends AsyncDisposable {
  berth(changes?: { readonly connections?: number }): Promise<RealBerth | RealSftpBerth>;
}

const [traits, start] = chosen();
let harbour: Harbour | undefined;
beforeAll(async () => {
  harbour = await start();
});
afterAll(() => harbour?.[Symbol.asyncDispose]());

function chosen(): readonly [Traits, () => Promise<Harbour>] {
  if (FERRYD_SERVER === 'openssh') return [{}, async () => overSsh(await startSshd({ at: far }))];
  const kind = kinds.find(({ name }) => name === FERRYD_SERVER);
  const security = (['plain', 'explicit', 'implicit'] as const).find((known) => known === FERRYD_SECURITY);
  if (kind === undefined || security === undefined)
    throw new Error(
      `link.test.ts names server and security; these are "${FERRYD_SERVER}", "${FERRYD_SECURITY}"`,
    );
  return [
    kind.traits,
    async () => {
      const server = await kind.start(security, { at: far });
      // The certificates are made for localhost; the far end of the link has another name.
      const tls = { ...noTlsSettings, serverName: 'localhost' };
      return {
        berth: (changes) => RealBerth.beside(server, security, { tls, ...changes }),
        [Symbol.asyncDispose]: server.stop,
      };
    },
  ];
}

function overSsh(server: RealSshServer): Harbour {
  return {
    berth: (changes) => RealSftpBerth.beside(server, changes),
    [Symbol.asyncDispose]: server.stop,
  };
}

const open: Harbour['berth'] = async (changes) => {
  if (harbour === undefined) throw new Error(`${FERRYD_SERVER} does not run`);
  return harbour.berth(changes);
};

remoteContract(`${FERRYD_SERVER}, ${FERRYD_SECURITY}`, () => open(), { ...traits, link: 'slow' });

test('fifty small files and fifty of 3 MB arrive whole', async () => {
  await using berth = await open();
  const files = new Map(
    Array.from({ length: 100 }, (_, place) => {
      const sizeBytes = place % 2 === 0 ? 100 * place : 3_000_000 + place;
      return [`file-${String(place).padStart(2, '0')}`, randomBytes(sizeBytes)] as const;
    }),
  );
  await Promise.all(
    [...files].map(([path, content]) => berth.remote.deliver(deliveryOf(path, sourceOf(content)))),
  );
  expect(await filesBelow(berth.disk)).toEqual([...files.keys()]);
  for (const [path, content] of files)
    expect(sha256(await readFile(join(berth.disk, path))), path).toBe(sha256(content));
  expect(berth.opened).toHaveLength(4);
  const back = [...files.keys()].slice(0, 20);
  const fetches = await Promise.all(back.map((path) => fetched(berth.remote, path)));
  expect(fetches.map(sha256)).toEqual(back.map((path) => sha256(files.get(path) ?? '')));
});

if (FERRYD_SECURITY === 'ssh')
  test('two hundred small files over one connection arrive whole, many side by side', async () => {
    await using berth = await open({ connections: 1 });
    const files = new Map(
      Array.from({ length: 200 }, (_, place) => [`file-${place}`, randomBytes(50 * place)] as const),
    );
    const startedAt = performance.now();
    await Promise.all(
      [...files].map(([path, content]) => berth.remote.deliver(deliveryOf(path, sourceOf(content)))),
    );
    const tookMs = performance.now() - startedAt;
    for (const [path, content] of files)
      expect((await readFile(join(berth.disk, path))).equals(content), path).toBe(true);
    expect(berth.opened).toHaveLength(1);
    // One after the other they would take two round trips each at the very least.
    expect(tookMs).toBeLessThan(200 * 2 * 40);
  });
