import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Field,
  FieldReader,
  MalformedPacket,
  PACKET_LIMIT_BYTES,
  type Packet,
  PacketParser,
  packetBytes,
  RawField,
  writePacket,
} from '../../src/sftp/packet.js';
import { packet, text, u32, u64 } from './peer.js';

const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
const word = fc.nat({ max: 0xffffffff });

function copied({ type, id, body }: Packet): Packet {
  return { type, id, body: Buffer.from(body) };
}

describe('a parser of packets', () => {
  test('gives whole packets, wherever the stream is cut', () => {
    const one = fc.record({ type: fc.nat({ max: 255 }), id: word, body: bytes });
    fc.assert(
      fc.property(
        fc.array(one, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 50 })),
        (packets, cuts) => {
          const stream = Buffer.concat(packets.map(({ type, id, body }) => packet(type, u32(id), body)));
          const parser = new PacketParser();
          const got: Packet[] = [];
          let at = 0;
          for (const cut of [...cuts, stream.length + 1]) {
            for (const found of parser.push(stream.subarray(at, at + cut))) got.push(copied(found));
            at = Math.min(stream.length, at + cut);
          }
          expect(got).toEqual(packets);
          expect(parser.heldBytes).toBe(0);
        },
      ),
    );
  });

  test.each([0, 4, PACKET_LIMIT_BYTES + 1, 0x20202020, 0xffffffff])(
    'refuses a packet of %i bytes by its length, before a byte of it is there',
    (length) => {
      const parser = new PacketParser();
      expect(() => [...parser.push(u32(length))]).toThrow(MalformedPacket);
      expect(parser.heldBytes).toBe(0);
    },
  );

  test('refuses such a length as well where it comes byte by byte', () => {
    const parser = new PacketParser();
    const length = u32(PACKET_LIMIT_BYTES + 1);
    for (const byte of length.subarray(0, 3)) expect([...parser.push(Buffer.from([byte]))]).toEqual([]);
    expect(() => [...parser.push(length.subarray(3))]).toThrow(MalformedPacket);
  });

  test('takes a packet of the limit', () => {
    const whole = packet(103, u32(7), Buffer.alloc(PACKET_LIMIT_BYTES - 5, 1));
    const parser = new PacketParser();
    expect([...parser.push(whole.subarray(0, 100_000))]).toEqual([]);
    expect(parser.arrivingId).toBe(7);
    expect([...parser.push(whole.subarray(100_000))].map(({ body }) => body.length)).toEqual([
      PACKET_LIMIT_BYTES - 5,
    ]);
    expect(parser.arrivingId).toBeUndefined();
  });
});

describe('a reader of fields', () => {
  test('never reads beyond the end', () => {
    const step = fc.constantFrom('uint32', 'uint64', 'bytes', 'rest');
    fc.assert(
      fc.property(bytes, fc.array(step), (body, steps) => {
        const reader = new FieldReader(body);
        for (const one of steps) {
          const before = reader.leftBytes;
          try {
            reader[one as 'bytes']();
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedPacket);
            break;
          }
          expect(reader.leftBytes).toBeLessThanOrEqual(before);
        }
      }),
    );
  });

  test('refuses a string that claims four thousand million bytes', () => {
    expect(() => new FieldReader(Buffer.concat([u32(0xffffffff), Buffer.alloc(20)])).bytes()).toThrow(
      MalformedPacket,
    );
  });
});

describe('a packet that is written', () => {
  const field = fc.oneof(
    word,
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    bytes,
    bytes.map((raw) => new RawField(raw)),
  );
  const wire = (one: Field): Buffer => {
    if (typeof one === 'number') return u32(one);
    if (typeof one === 'bigint') return u64(one);
    return one instanceof RawField ? one.bytes : text(one);
  };

  test('is as long as was said, and holds its fields', () => {
    fc.assert(
      fc.property(fc.nat({ max: 255 }), word, fc.array(field, { maxLength: 6 }), (type, id, all) => {
        const wanted = packet(type, u32(id), ...all.map(wire));
        expect(packetBytes(all)).toBe(wanted.length);
        const target = Buffer.alloc(wanted.length + 20, 0xee);
        expect(writePacket(target, 10, { type, id, fields: all })).toBe(10 + wanted.length);
        expect(target.subarray(10, 10 + wanted.length)).toEqual(wanted);
        expect(target.subarray(0, 10)).toEqual(Buffer.alloc(10, 0xee));
        expect(target.subarray(10 + wanted.length)).toEqual(Buffer.alloc(10, 0xee));
      }),
    );
  });
});
