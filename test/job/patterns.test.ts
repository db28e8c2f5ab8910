/* Ports and addresses of active mode, as a person writes them. */
import { expect, test } from 'vitest';
import { formats, readPortRange } from '../../src/job/patterns.js';

test.each([
  ['1024-65535', { first: 1024, last: 65_535 }],
  ['50000-50000', { first: 50_000, last: 50_000 }],
  ['50000', { first: 50_000, last: 50_000 }],
])('ports %s', (text, value) => {
  expect(readPortRange(text)).toEqual({ ok: true, value });
});

test.each([
  ['1023-2000', /^ports lie between 1024 and 65535/],
  ['2000-65536', /^ports lie between 1024 and 65535/],
  ['0', /^ports lie between 1024 and 65535/],
  ['2001-2000', /write 2000-2001$/],
  ['', /^ports are written FIRST-LAST/],
  ['2000-', /^ports are written FIRST-LAST/],
  ['2000 - 2001', /^ports are written FIRST-LAST/],
  ['2000,2001', /^ports are written FIRST-LAST/],
  ['-2000', /^ports are written FIRST-LAST/],
  ['2e3', /^ports are written FIRST-LAST/],
])('no ports: %j', (text, words) => {
  const reading = readPortRange(text);
  expect(reading.ok ? 'read' : reading.wrong).toMatch(words);
});

test.each([
  ['192.0.2.7', undefined],
  ['2001:db8::7', undefined],
  ['::ffff:192.0.2.7', undefined],
  ['[2001:db8::7]', 'an IPv6 address stands here without brackets'],
  ['nas.example.net', expect.stringMatching(/^must be an IP address/)],
  ['192.0.2.007', expect.stringMatching(/^must be an IP address/)],
  ['[192.0.2.7]', expect.stringMatching(/^must be an IP address/)],
  ['', expect.stringMatching(/^must be an IP address/)],
  ['fe80::1%eth0', expect.stringMatching(/without % and a zone/)],
  ['0.0.0.0', expect.stringMatching(/^is the address that means every address/)],
  ['::', expect.stringMatching(/^is the address that means every address/)],
  ['0:0::0', expect.stringMatching(/^is the address that means every address/)],
])('address %j', (text, expected) => {
  expect(formats.address(text)).toEqual(expected);
});
