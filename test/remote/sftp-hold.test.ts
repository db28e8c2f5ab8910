/* The bound on what is in memory at the same time. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Hold } from '../../src/remote/sftp/hold.js';

test('never more than there is room for, but one that is larger; in turn; and all come to their end', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ bytes: fc.nat(150), turns: fc.nat(5), givesUp: fc.boolean() }), { maxLength: 30 }),
      async (users) => {
        const hold = new Hold(100);
        let used = 0;
        let inside = 0;
        let came = 0;
        const order: number[] = [];
        await Promise.all(
          users.map(async ({ bytes, turns, givesUp }, place) => {
            const controller = new AbortController();
            if (givesUp) setImmediate(() => controller.abort(new Error('enough')));
            let leave: () => void;
            try {
              leave = await hold.take(bytes, controller.signal);
            } catch {
              expect(givesUp).toBe(true);
              return;
            }
            order.push(place);
            came += 1;
            used += bytes;
            inside += bytes > 0 ? 1 : 0;
            expect(used <= 100 || inside === 1).toBe(true);
            for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
            used -= bytes;
            inside -= bytes > 0 ? 1 : 0;
            leave();
            leave();
          }),
        );
        expect(order).toEqual([...order].sort((a, b) => a - b));
        expect(came).toBeGreaterThanOrEqual(users.filter(({ givesUp }) => !givesUp).length);
        // Nothing is held back at the end.
        (await hold.take(100, undefined))();
      },
    ),
  );
});

test('a signal that was given already, and one that comes while it waits', async () => {
  const hold = new Hold(10);
  const reason = new Error('enough');
  await expect(hold.take(1, AbortSignal.abort(reason))).rejects.toBe(reason);
  const leave = await hold.take(10, undefined);
  const controller = new AbortController();
  const large = hold.take(8, controller.signal);
  const small = hold.take(1, undefined);
  controller.abort(reason);
  await expect(large).rejects.toBe(reason);
  leave();
  (await small)();
});
