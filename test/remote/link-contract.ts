/*
 * The contract against a real server at the far end of a slow link: what link.test.ts runs at the near end, in a vitest
 * of its own. Which server, and where, stands in the environment. No `.test.` in its name: it means nothing by itself.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Place } from '../support/place.js';
import type { RealServer } from '../support/real-server.js';
import { noTlsSettings } from './berth.js';
import { deliveryOf, fetched, filesBelow, remoteContract, sha256, sourceOf } from './contract.js';
import { kinds, RealBerth } from './real-berth.js';

const { FERRYD_FAR = '', FERRYD_SERVER = '', FERRYD_SECURITY = '' } = process.env;
const kind = kinds.find(({ name }) => name === FERRYD_SERVER);
const security = (['plain', 'explicit', 'implicit'] as const).find((known) => known === FERRYD_SECURITY);
if (kind === undefined || security === undefined)
  throw new Error(
    `link.test.ts names server and security; these are "${FERRYD_SERVER}", "${FERRYD_SECURITY}"`,
  );
const far: Place = JSON.parse(FERRYD_FAR);

let server: RealServer | undefined;
beforeAll(async () => {
  server = await kind.start(security, { at: far });
});
afterAll(() => server?.stop());

/** The certificates are made for localhost; the far end of the link has another name. */
const open = async (): Promise<RealBerth> => {
  if (server === undefined) throw new Error(`${kind.name} does not run`);
  return RealBerth.beside(server, security, { tls: { ...noTlsSettings, serverName: 'localhost' } });
};

remoteContract(`${kind.name}, ${security}`, open, { ...kind.traits, link: 'slow' });

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
