/*
 * SITE CHMOD among the packets of an upload, against the real servers. vsftpd refuses it to the virtual users that it
 * has here (chmod is for local ones), so it stands for all that refuse.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeReal } from '../support/real-server.js';
import { deliveryOf, filesBelow, sourceOf } from './contract.js';
import { kinds, RealBerth } from './real-berth.js';

const modes = [0o600, 0o644, 0o755, 0o640, 0o444, 0o711, 0o666, 0o700].map(
  (mode, place) => [`file-${place}`, mode] as const,
);

for (const { name, start, traits } of kinds) {
  describeReal(name, 'permissions', () => {
    test.each(['plain', 'explicit'] as const)('%s: file after file on one connection', async (security) => {
      await using berth = await RealBerth.open(() => start(security), security, { connections: 1 });
      for (let round = 0; round < 2; round += 1) {
        await Promise.all(
          modes.map(([path, permissions]) =>
            berth.remote.deliver({ ...deliveryOf(path, sourceOf(`${path} ${round}`)), permissions }),
          ),
        );
      }
      expect(await filesBelow(berth.disk)).toEqual(modes.map(([path]) => path));
      const refusals = berth.learned.filter((sentence) => sentence.includes('SITE CHMOD'));
      expect(refusals).toHaveLength(traits.permissions === 'none' ? 1 : 0);
      if (traits.permissions === 'none') return;
      for (const [path, mode] of modes)
        expect([path, (await stat(join(berth.disk, path))).mode & 0o7777]).toEqual([path, mode]);
    });
  });
}
