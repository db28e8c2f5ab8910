import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SftpClient } from '../../src/sftp/client.js';
import { SftpError } from '../../src/sftp/errors.js';
import { MalformedPacket, PACKET_LIMIT_BYTES, PacketParser } from '../../src/sftp/packet.js';
import {
  attributes,
  attrs,
  connected,
  data,
  handle,
  names,
  options,
  Peer,
  packet,
  status,
  text,
  turns,
  u32,
} from './peer.js';

const junk = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));

describe('whatever a server sends', () => {
  test('the parser takes it or refuses it, and never holds more than a packet', () => {
    fc.assert(
      fc.property(fc.array(junk, { maxLength: 20 }), (chunks) => {
        const parser = new PacketParser();
        try {
          for (const chunk of chunks) {
            for (const found of parser.push(chunk)) expect(found.body.length).toBeLessThanOrEqual(300 * 20);
            expect(parser.heldBytes).toBeLessThanOrEqual(PACKET_LIMIT_BYTES);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedPacket);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('a session begins with an SftpError, or waits for more', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(junk, { maxLength: 5 }), async (chunks) => {
        const peer = new Peer();
        const opening = SftpClient.over(peer.channel, options);
        opening.catch(() => {});
        for (const chunk of chunks) peer.send(chunk);
        await turns(1);
        peer.end();
        const opened = await opening.then(
          (client) => client,
          (error: unknown) => {
            expect(error).toBeInstanceOf(SftpError);
            expect(String(error)).not.toMatch(/[\p{Cc}\p{Cf}]/u);
          },
        );
        opened?.reset();
      }),
      { numRuns: 100 },
    );
  });

  test('every request ends in a value or an SftpError', async () => {
    const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array));
    const type = fc.oneof(fc.constantFrom(2, 101, 102, 103, 104, 105, 201), fc.nat({ max: 255 }));
    const answer = fc.oneof(
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('right' as const) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('packet' as const), type, body: bytes }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), at: fc.nat({ max: 30 }) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('junk' as const), body: bytes }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('stray' as const), id: fc.nat({ max: 20 }) }) },
    );
    const right = (id: number, asked: number): Buffer => {
      switch (asked) {
        case 3:
        case 11:
          return handle(id, 'h');
        case 5:
          return data(id, Buffer.from('content'));
        case 7:
        case 8:
        case 17:
          return attrs(id, attributes());
        case 16:
        case 19:
          return names(id, [{ name: '/a' }]);
        case 12:
          return id % 2 === 0 ? status(id, 1) : names(id, [{ name: 'a' }, { name: 'b' }]);
        default:
          return status(id, 0);
      }
    };
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { minLength: 1, maxLength: 12 }), async (answers) => {
        const { client, peer } = await connected({
          extensions: { 'check-file': '1', 'statvfs@openssh.com': '2' },
        });
        let next = 0;
        peer.serve(({ type: asked, id }) => {
          const one = answers[next];
          next += 1;
          if (one === undefined) {
            peer.end();
            return;
          }
          const good = right(id, asked);
          if (one.kind === 'right') peer.send(good);
          else if (one.kind === 'packet') peer.send(packet(one.type, u32(id), one.body));
          else if (one.kind === 'cut') {
            const body = good.subarray(9, Math.max(9, good.length - one.at));
            peer.send(packet(good[4] ?? 0, u32(id), body));
          } else if (one.kind === 'junk') peer.send(one.body);
          else peer.send(status(one.id, 0));
        });
        const list = async (): Promise<void> => {
          for await (const batch of client.list('/d')) expect(batch.length).toBeGreaterThan(0);
        };
        const file = async (): Promise<void> => {
          const opened = await client.open('/a', { access: 'read' });
          await Promise.all([
            opened.read(0, 10),
            opened.stat(),
            opened.write(0, Buffer.alloc(10)),
            opened.close(),
          ]);
        };
        const work = [
          client.stat('/a'),
          client.realpath('.'),
          client.statvfs('/'),
          client.checkFile('/a', { algorithms: ['md5'], sizeBytes: 4 }),
          client.remove('/a'),
          list(),
          file(),
        ];
        for (const one of await Promise.allSettled(work)) {
          if (one.status === 'rejected') expect(one.reason).toBeInstanceOf(SftpError);
        }
        client.reset();
        expect(await client.ended).toBeInstanceOf(SftpError);
      }),
      { numRuns: 150 },
    );
  });

  test('a string that claims to be longer than its packet is never allocated', async () => {
    const { client, peer } = await connected();
    const stat = client.realpath('/a');
    const { id } = await peer.next();
    peer.send(packet(104, u32(id), u32(1), u32(0x7fffffff), text('a')));
    await expect(stat).rejects.toMatchObject({ kind: 'malformed' });
  });
});
