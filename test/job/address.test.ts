/* URLs, paths on servers, local paths. */
import { homedir } from 'node:os';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readAddress, readLocalPath, readRemotePath, readServerUrl } from '../../src/job/address.js';
import { isLoopback } from '../../src/job/host.js';

const PASSWORD = /^a password must not stand in a URL/;

describe('the URL of a server', () => {
  const relative = (path: string) => ({ path, absolute: false });
  const ftp = (security: string) => ({ protocol: 'ftp', security });
  test.each([
    ['ftp://h', { scheme: ftp('plain'), host: 'h', port: 21, user: undefined, remotePath: undefined }],
    ['ftpes://h/', { scheme: ftp('explicit'), host: 'h', port: 21, user: undefined, remotePath: undefined }],
    [
      'ftps://h/a',
      { scheme: ftp('implicit'), host: 'h', port: 990, user: undefined, remotePath: relative('a') },
    ],
    ['sftp://j@h', { scheme: { protocol: 'sftp' }, host: 'h', port: 22, user: 'j', remotePath: undefined }],
    ['SFTP://h:2222/a/b', { scheme: { protocol: 'sftp' }, port: 2222, remotePath: relative('a/b') }],
    ['sftp://h/%2Fsrv/x', { remotePath: { path: '/srv/x', absolute: true } }],
    ['FTPES://NAS.Example.NET', { scheme: ftp('explicit'), host: 'nas.example.net', port: 21 }],
    ['ftp://john@h:2121/a/b/', { host: 'h', port: 2121, user: 'john', remotePath: relative('a/b') }],
    ['ftp://john%40corp@h', { host: 'h', user: 'john@corp' }],
    ['ftp://john@corp@h', { host: 'h', user: 'john@corp' }],
    ['ftp://h/%2Fsrv/x', { remotePath: { path: '/srv/x', absolute: true } }],
    ['ftp://h/%2F', { remotePath: { path: '/', absolute: true } }],
    ['ftp://h/in%20box/%C3%BC%23', { remotePath: relative('in box/ü#') }],
    ['ftp://h/a@b', { remotePath: relative('a@b') }],
    ['ftp://h:21/a%40b', { port: 21, remotePath: relative('a@b') }],
    ['ftp://[::1]:2121/x', { host: '::1', port: 2121 }],
    ['ftp://[FE80::1%25eth0]', { host: 'fe80::1%eth0' }],
    ['ftp://127.0.0.1', { host: '127.0.0.1' }],
    ['ftp://bücher.example', { host: 'xn--bcher-kva.example' }],
  ])('%s', (url, expected) => {
    const reading = readServerUrl(url);
    expect(reading.ok ? reading.value : reading.wrong).toMatchObject(expected);
  });

  test.each([
    ['ftp://john:hunter2@h/x', PASSWORD],
    ['ftp://john:hunter2@@h', PASSWORD],
    ['ftp://john:hun/ter2@h/x', PASSWORD],
    ['ftp://john:hun?ter2@h/x', PASSWORD],
    ['ftp://john:hun#ter2@h', PASSWORD],
    ['ftp://:hunter2@h', PASSWORD],
    ['ftp://john:@h', PASSWORD],
    ['ftp://john:12/hunter2@h', /^an @ in the path of a URL with a port is written %40/],
    ['sftp://john:hunter2@h/x', /^a password must not .* write { url: sftp:\/\/HOST\/PATH/],
    ['ssh://h', /^files go over SSH by SFTP: write sftp:\/\/ in place of ssh:\/\/$/],
    ['SCP://h/x', /^files go over SSH by SFTP: write sftp:\/\/ in place of scp:\/\/$/],
    ['http://h', /^a server is written with sftp:\/\/, ftpes:\/\/, ftps:\/\/ or ftp:\/\//],
    ['sfpt://h', /did you mean "sftp"\?$/],
    ['ftpess://h', /did you mean "ftpes"\?$/],
    ['file:///x', /^a local directory is written as a path/],
    ['nas.example.net', /^must be a URL, such as sftp:/],
    ['ftp://', /^the URL has no host/],
    ['ftp:///x', /^the URL has no host/],
    ['ftp://@h', /^the user in front of the @ is empty/],
    ['ftp://h:0', /^the port must be a number from 1 to 65535$/],
    ['ftp://h:65536', /^the port must be/],
    ['ftp://h:', /^the port must be/],
    ['ftp://h:ftp', /^the port must be/],
    ['ftp://2001:db8::1', /^an IPv6 address stands in brackets/],
    ['ftp://[nas]', /^the brackets do not hold an IPv6 address/],
    ['ftp://256.1.1.1', /^the host is neither a name/],
    ['ftp://a_b..c', /^the host is neither a name/],
    ['ftp://h/a b', /^a URL holds no spaces/],
    ['ftp://h/a\r\nDELE b', /^a URL holds no spaces or control characters/],
    ['ftp://h/a%0D%0ADELE', /^a path on a server must not hold a line break/],
    ['ftp://h/a%00', /^a path on a server must not hold/],
    ['ftp://us%0Aer@h', /^the user must not hold a line break/],
    ['ftp://h/a/../b', /^a path on a server must not hold "\.\."/],
    ['ftp://h/a/%2e%2e/b', /^a path on a server must not hold "\.\."/],
    ['ftp://h//srv', /is written with %2F/],
    ['ftp://h/a?b', /is written %3F or %23/],
    ['ftp://h/%zz', /^a % in a URL begins two hexadecimal digits/],
    ['ftp://h/%FF', /^a % in a URL begins two hexadecimal digits of UTF-8/],
  ])('%j is refused', (url, sentence) => {
    const reading = readServerUrl(url);
    expect(reading.ok ? reading.value : reading.wrong).toEqual(expect.stringMatching(sentence));
    expect(JSON.stringify(reading)).not.toMatch(/hunter|ter2/);
  });

  test('no text makes it throw, and no password comes back in words', () => {
    const secret = fc.string({
      minLength: 8,
      maxLength: 20,
      unit: fc.constantFrom('q', 'z', '#', '/', '?', '%', ' '),
    });
    fc.assert(
      fc.property(fc.constantFrom('ftp', 'ftpes', 'ftps', 'sftp'), secret, (scheme, password) => {
        const reading = readServerUrl(`${scheme}://john:${password}@host/dir`);
        return !reading.ok && !reading.wrong.includes(password);
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => typeof readServerUrl(text).ok === 'boolean'),
    );
    fc.assert(fc.property(fc.webUrl(), (text) => typeof readServerUrl(text).ok === 'boolean'));
  });
});

test.each([
  ['', '', false],
  ['dumps', 'dumps', false],
  ['dumps//db/./x/', 'dumps/db/x', false],
  ['/srv/x/', '/srv/x', true],
  ['/', '/', true],
  ['./~', '~', false],
  [' lead', ' lead', false],
])('the path %j on a server', (text, path, absolute) => {
  expect(readRemotePath(text)).toEqual({ ok: true, value: { path, absolute } });
});

test.each(['..', 'a/..', '/../x', 'a\nb', 'a\rb', 'a\0b'])('the path %j on a server is refused', (text) => {
  expect(readRemotePath(text).ok).toBe(false);
});

test.each([
  ['/a', { kind: 'local', text: '/a' }],
  ['a/b', { kind: 'local', text: 'a/b' }],
  ['./a:b', { kind: 'local', text: './a:b' }],
  ['nas:dumps', { kind: 'named', server: 'nas', path: 'dumps' }],
  ['nas:/srv/a:b', { kind: 'named', server: 'nas', path: '/srv/a:b' }],
  ['nas:', { kind: 'named', server: 'nas', path: '' }],
  ['ftp://h', { kind: 'url', url: 'ftp://h' }],
  ['9a:b', { kind: 'local', text: '9a:b' }],
])('the address %j', (text, address) => {
  expect(readAddress(text)).toEqual(address);
});

test('local paths count from the home directory or from the directory of the file', () => {
  expect(readLocalPath('~/x', '/jobs')).toEqual({ ok: true, value: `${homedir()}/x` });
  expect(readLocalPath('~', '/jobs')).toEqual({ ok: true, value: homedir() });
  expect(readLocalPath('../x', '/etc/jobs')).toEqual({ ok: true, value: '/etc/x' });
  expect(readLocalPath('/x/', '/jobs')).toEqual({ ok: true, value: '/x' });
  expect(readLocalPath('~john/x', '/jobs').ok).toBe(false);
  expect(readLocalPath('~john', '/jobs').ok).toBe(false);
});

test.each([
  ['localhost', true],
  ['a.localhost', true],
  ['127.8.9.1', true],
  ['::1', true],
  ['0:0:0:0:0:0:0:1', true],
  ['::ffff:127.0.0.1', true],
  ['127.0.0.1.example.net', false],
  ['localhost.example.net', false],
  ['::2', false],
  ['10.0.0.1', false],
])('%s is loopback: %s', (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});
