import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attributeFields, type NewAttributes, readAttributes } from '../../src/sftp/attributes.js';
import { FieldReader, MalformedPacket, packetBytes, writePacket } from '../../src/sftp/packet.js';
import { text, u32, u64 } from './peer.js';

const word = fc.nat({ max: 0xffffffff });

function written(attributes: NewAttributes): Buffer {
  const fields = attributeFields(attributes);
  const target = Buffer.alloc(packetBytes(fields));
  writePacket(target, 0, { type: 9, id: 1, fields });
  return target.subarray(9);
}

function read(bytes: Buffer, line?: string) {
  return readAttributes(new FieldReader(bytes), line === undefined ? undefined : Buffer.from(line));
}

describe('attributes', () => {
  test('come back as they were sent, whichever of them there are', () => {
    const all = fc.record({
      sizeBytes: fc.option(fc.maxSafeNat(), { nil: undefined }),
      owner: fc.option(fc.record({ uid: word, gid: word }), { nil: undefined }),
      mode: fc.option(word, { nil: undefined }),
      times: fc.option(fc.record({ accessedS: word, modifiedS: word }), { nil: undefined }),
    });
    fc.assert(
      fc.property(all, (attributes) => {
        const { type, ...back } = read(written(attributes));
        expect(back).toEqual({
          sizeBytes: attributes.sizeBytes,
          uid: attributes.owner?.uid,
          gid: attributes.owner?.gid,
          mode: attributes.mode,
          accessedS: attributes.times?.accessedS,
          modifiedS: attributes.times?.modifiedS,
        });
        expect(type).toBeTypeOf('string');
      }),
    );
  });

  test('stand on the wire in the order of the draft', () => {
    const attributes = {
      times: { accessedS: 5, modifiedS: 6 },
      mode: 0o644,
      owner: { uid: 1, gid: 2 },
      sizeBytes: 3,
    };
    const wanted = [u32(0xf), u64(3), u32(1), u32(2), u32(0o644), u32(5), u32(6)];
    expect(written(attributes)).toEqual(Buffer.concat(wanted));
  });

  test.each([
    [0o100644, 'file'],
    [0o040755, 'directory'],
    [0o120777, 'link'],
    [0o140777, 'other'],
    [0o060600, 'other'],
    [0o644, 'unknown'],
  ])('of the mode %o are of a %s', (mode, type) => {
    expect(read(Buffer.concat([u32(4), u32(mode)])).type).toBe(type);
  });

  test.each([
    ['drwxr-xr-x  2 me me 4096 Jan 1 00:00 d', 'directory'],
    ['-rw-r--r--  1 me me 4096 Jan 1 00:00 f', 'file'],
    ['lrwxrwxrwx  1 me me 4096 Jan 1 00:00 l', 'link'],
    ['prw-r--r--  1 me me 4096 Jan 1 00:00 p', 'other'],
    ['d', 'unknown'],
    ['downloads', 'unknown'],
    ['', 'unknown'],
  ])('without a type take it from the line %j', (line, type) => {
    expect(read(Buffer.concat([u32(4), u32(0o755)]), line).type).toBe(type);
    expect(read(u32(0), line).type).toBe(type);
  });

  test('believe the mode more than the line', () => {
    expect(read(Buffer.concat([u32(4), u32(0o100644)]), 'drwxr-xr-x').type).toBe('file');
  });

  test('that are extended are passed over', () => {
    const extended = [
      u32(0x80000001),
      u64(9),
      u32(2),
      text('a@b'),
      text('1'),
      text('c@d'),
      text(Buffer.alloc(900)),
    ];
    const reader = new FieldReader(Buffer.concat([...extended, u32(77)]));
    expect(readAttributes(reader).sizeBytes).toBe(9);
    expect(reader.uint32()).toBe(77);
  });

  test('do not tell a size that no file has', () => {
    expect(read(Buffer.concat([u32(1), u64(2n ** 64n - 1n)])).sizeBytes).toBeUndefined();
    expect(read(Buffer.concat([u32(1), u64(2n ** 53n - 1n)])).sizeBytes).toBe(2 ** 53 - 1);
  });

  test.each([
    ['a flag of a later version', Buffer.concat([u32(0x10), Buffer.alloc(50)])],
    [
      'more extended ones than there can be',
      Buffer.concat([u32(0x80000000), u32(0xffffffff), Buffer.alloc(50)]),
    ],
    ['an extended one beyond the packet', Buffer.concat([u32(0x80000000), u32(1), u32(0xffffffff)])],
    ['no end', Buffer.concat([u32(0xf), u64(3)])],
    ['nothing', Buffer.alloc(0)],
  ])('with %s are malformed', (_what, bytes) => {
    expect(() => read(bytes)).toThrow(MalformedPacket);
  });

  test.each<NewAttributes>([
    { sizeBytes: -1 },
    { sizeBytes: 1.5 },
    { mode: -1 },
    { times: { accessedS: 0, modifiedS: 2 ** 32 } },
    { times: { accessedS: Number.NaN, modifiedS: 0 } },
    { owner: { uid: 2 ** 32, gid: 0 } },
  ])('without a place on the wire are refused: %o', (attributes) => {
    expect(() => attributeFields(attributes)).toThrow(RangeError);
  });
});
