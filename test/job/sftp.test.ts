/* Servers that speak SFTP, as people write them: what loads, every contradiction as the line that a person sees, and vias. */
import { homedir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { SftpServer } from '../../src/job/job.js';
import { lookUpServer } from '../../src/job/load.js';
import { load } from './directory.js';

const KEY = 'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU';
const OTHER_KEY = 'SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

/** Lines about `a.yaml`, with a `to` of these keys below it. */
async function linesOf(keys: string, servers = ''): Promise<string[]> {
  const { lines } = await load({
    'a.yaml': `from: /a\nto:\n${keys.replace(/^/gm, '  ')}\n`,
    ...(servers === '' ? {} : { 'servers.yaml': servers }),
  });
  return lines.map((line) => line.replace(/^a\.yaml:/, ''));
}

describe('what is right', () => {
  test('everything written, and a way through another server', async () => {
    const { jobs, lines, directory } = await load({
      'servers.yaml': `vault:
  url: sftp://vault.internal:2222
  user: backup
  password: { credential: vault }
  privateKey: { file: keys/vault }
  passphrase: { env: VAULT_PASSPHRASE }
  agent: run/agent.socket
  hostKey: ["${KEY}", "${OTHER_KEY}="]
  via: gate
  connections: 3
  charset: Windows-1252
  verify: hash
  timeouts: { connect: 1s, reply: 2s, stall: 3s, transfer: 4h }
gate:
  url: sftp://hop@gate.example.net
  agent: true
`,
      'a.yaml': 'from: /a\nto: vault:dumps\nlinks: preserve\n',
    });
    expect(lines).toEqual([]);
    const standard = [
      path.join(directory, 'known_hosts'),
      path.join(homedir(), '.ssh/known_hosts'),
      '/etc/ssh/ssh_known_hosts',
    ] as const;
    const gate: SftpServer = {
      name: 'gate',
      protocol: 'sftp',
      host: 'gate.example.net',
      port: 22,
      user: 'hop',
      password: undefined,
      privateKey: undefined,
      passphrase: undefined,
      agent: { kind: 'environment' },
      hostKeys: [],
      knownHosts: standard,
      via: undefined,
      connections: 2,
      charset: 'utf-8',
      verify: 'auto',
      timeouts: { connectMs: 20_000, replyMs: 60_000, stallMs: 60_000, transferMs: 86_400_000 },
    };
    const vault: SftpServer = {
      name: 'vault',
      protocol: 'sftp',
      host: 'vault.internal',
      port: 2222,
      user: 'backup',
      password: { kind: 'credential', name: 'vault' },
      privateKey: { kind: 'file', path: path.join(directory, 'keys/vault') },
      passphrase: { kind: 'env', name: 'VAULT_PASSPHRASE' },
      agent: { kind: 'socket', path: path.join(directory, 'run/agent.socket') },
      hostKeys: [KEY, OTHER_KEY],
      knownHosts: standard,
      via: gate,
      connections: 3,
      charset: 'windows-1252',
      verify: 'hash',
      timeouts: { connectMs: 1_000, replyMs: 2_000, stallMs: 3_000, transferMs: 14_400_000 },
    };
    expect(jobs).toHaveLength(1);
    expect(jobs[0]?.server).toEqual(vault);
    expect(jobs[0]?.links).toBe('preserve');
  });

  test.each<[string, object]>([
    ['{ url: "sftp://j@h/x", agent: true }', { path: 'x', agent: { kind: 'environment' } }],
    ['{ url: "sftp://j@h/%2Fx", agent: true, password: { env: P } }', { path: '/x' }],
    ['{ url: "sftp://h", user: j, path: /srv, password: { env: P } }', { path: '/srv', agent: undefined }],
    ['{ url: "sftp://j@h", agent: false, password: { env: P } }', { agent: undefined }],
    ['{ url: "sftp://anonymous@h", password: { env: P } }', { user: 'anonymous' }],
    [`{ url: "sftp://j@h", agent: true, hostKey: "${KEY}" }`, { hostKeys: [KEY] }],
    [
      '{ url: "sftp://j@h", agent: ~/agent.socket }',
      { agent: { kind: 'socket', path: `${homedir()}/agent.socket` } },
    ],
    [
      '{ url: "sftp://j@h", agent: true, knownHosts: ~/.ssh/hosts }',
      { knownHosts: [`${homedir()}/.ssh/hosts`] },
    ],
    ['{ url: "sftp://j@h", privateKey: { file: ~/k } }', { privateKey: { path: `${homedir()}/k` } }],
    [
      '{ url: "sftp://j@h", privateKey: { command: [pass, k] } }',
      { privateKey: { kind: 'command', argv: ['pass', 'k'] } },
    ],
  ])('inline: %s', async (to, { path: remotePath, ...expected }: { path?: string }) => {
    const { jobs, lines } = await load({ 'a.yaml': `from: /a\nto: ${to}` });
    expect(lines).toEqual([]);
    expect(jobs[0]?.server).toMatchObject({ protocol: 'sftp', ...expected });
    if (remotePath !== undefined) expect(jobs[0]?.remotePath.path).toBe(remotePath);
  });

  test.each(['copy', 'mirror', 'move', 'two-way'])('links: preserve in mode %s, both ways', async (mode) => {
    const servers = 'nas: { url: "sftp://j@h", agent: true }';
    const rest = `mode: ${mode}\nlinks: preserve`;
    const { jobs, lines } = await load({
      'servers.yaml': servers,
      'a.yaml': `from: /a\nto: nas:x\n${rest}`,
      'b.yaml': `from: nas:x\nto: /a\n${rest}`,
    });
    expect(lines).toEqual([]);
    expect(jobs.map(({ links }) => links)).toEqual(['preserve', 'preserve']);
  });
});

describe('without a home directory', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  test('known_hosts of the jobs directory and of the system are left, and ~/ is told', async () => {
    vi.stubEnv('HOME', 'nowhere');
    const { jobs, lines, directory } = await load({
      'a.yaml': 'from: /a\nto: { url: "sftp://j@h", agent: true }',
      'b.yaml': 'from: ~/a\nto: { url: "sftp://j@h", agent: true }',
    });
    expect(lines).toEqual([
      'b.yaml:1:7: error: /from: ~/ is the home directory, and the user that ferryd runs as has none; write the path from / on',
    ]);
    expect(jobs[0]?.server).toMatchObject({
      knownHosts: [path.join(directory, 'known_hosts'), '/etc/ssh/ssh_known_hosts'],
    });
  });
});

const NO_USER =
  'SFTP needs a user, for there is no anonymous login; write sftp://NAME@HOST, or user: NAME beside the URL';
const NO_LOGIN =
  'there is nothing to log in with; write privateKey: { file: PATH }, agent: true or password: { credential: NAME } beside the URL';
const HOST_KEY =
  'a host key is SHA256: and 43 characters of base64, in quotes, such as "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"; on the server, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub shows it';
const MD5 =
  'is a fingerprint by MD5, which can be forged; write the one by SHA256: on the server, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub shows it';
const ITSELF =
  'is the key itself; write its fingerprint, which ssh-keygen -lf FILE shows, or put the key into a known_hosts file and name that with knownHosts';
const AGENT =
  'must be true for the agent that $SSH_AUTH_SOCK names, false, or the path of its socket, such as /run/user/1000/ssh-agent.socket';
const NO_TEXT =
  'a private key does not stand in this file: write where it comes from, { file: PATH }, { credential: NAME }, { env: NAME } or { command: [PROGRAM, ...] }';

describe('what is wrong', () => {
  test('a URL alone', async () => {
    const { lines } = await load({ 'a.yaml': 'from: /a\nto: sftp://h/x' });
    expect(lines).toEqual([`a.yaml:2:5: error: /to: ${NO_USER}`, `a.yaml:2:5: error: /to: ${NO_LOGIN}`]);
  });

  test.each<[string, string, string[]]>([
    ['no user', 'url: sftp://h\nagent: true', [`3:8: error: /to/url: ${NO_USER}`]],
    ['nothing in hand', 'url: sftp://j@h', [`3:8: error: /to/url: ${NO_LOGIN}`]],
    ['an agent that is off', 'url: sftp://j@h\nagent: false', [`3:8: error: /to/url: ${NO_LOGIN}`]],
    [
      'a mistaken login is one mistake',
      'url: sftp://j@h\nprivateKey: { fil: x }',
      ['4:17: error: /to/privateKey/fil: unknown key "fil"; did you mean "file"?'],
    ],
    [
      'keys of FTP',
      'url: sftp://j@h\nagent: true\ntls: { pin: sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= }\naccount: { env: A }\ndataConnection: passive\nactive: { ports: 50000 }',
      [
        '5:3: error: /to/tls: SFTP has no TLS and no certificates: an SFTP server is known by its host key, which ferryd trust writes down, or hostKey says; take tls away',
        '6:3: error: /to/account: the account (ACCT) is a thing of FTP, which SFTP has not; take it away',
        '7:3: error: /to/dataConnection: SFTP has one connection for everything, and no data connections; take it away',
        '8:3: error: /to/active: SFTP has one connection for everything, and the server opens none; take it away',
      ],
    ],
    [
      'keys of SFTP at FTP',
      `url: ftpes://j@h\npassword: { env: P }\nprivateKey: { file: k }\npassphrase: { env: P }\nagent: true\nhostKey: "${KEY}"\nknownHosts: k\nvia: gate`,
      [
        '5:3: error: /to/privateKey: FTP logs in without a private key; write sftp:// in the URL if the server speaks SFTP, or take it away. The key of a TLS certificate is written under tls, as key',
        "6:3: error: /to/passphrase: opens a private key, and FTP logs in without one; write sftp:// in the URL if the server speaks SFTP, or take it away. That of a TLS certificate's key is written under tls",
        '7:3: error: /to/agent: an SSH agent is for SFTP; write sftp:// in the URL if the server speaks SFTP, or take it away',
        '8:3: error: /to/hostKey: an FTP server has no host key but a certificate, which is trusted by ca or pin under tls; write sftp:// in the URL if the server speaks SFTP, or take it away',
        '9:3: error: /to/knownHosts: an FTP server has no host key but a certificate, which is trusted by ca or pin under tls; write sftp:// in the URL if the server speaks SFTP, or take it away',
        '10:3: error: /to/via: only SFTP goes through another server; write sftp:// in the URL if the server speaks SFTP, or take it away',
      ],
    ],
    [
      'trust by two ways',
      `url: sftp://j@h\nagent: true\nhostKey: "${KEY}"\nknownHosts: k`,
      ['5:3: error: /to/hostKey: hostKey and knownHosts are two ways to trust; take one of them away'],
    ],
    [
      'a passphrase without a key',
      'url: sftp://j@h\npassphrase: { env: P }\nagent: true',
      [
        '4:3: error: /to/passphrase: a passphrase opens a private key, and there is none; write privateKey: { file: PATH } beside it, or password in place of passphrase',
      ],
    ],
    [
      'a private key in the file',
      'url: sftp://j@h\nprivateKey: |\n  -----BEGIN OPENSSH PRIVATE KEY-----\n  hunter2',
      [`4:15: error: /to/privateKey: ${NO_TEXT}`],
    ],
    [
      'the path of a private key alone, and a secret as a key',
      'url: sftp://j@h\nprivateKey: ~/.ssh/id_ed25519\npassphrase: { hunter2 }',
      [
        `4:15: error: /to/privateKey: ${NO_TEXT}`,
        '5:15: error: /to/passphrase: unknown key; known here: credential, env, file, command',
      ],
    ],
    ...[
      'MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48',
      '16:27:AC:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48',
    ].map((md5): [string, string, string[]] => [
      `a fingerprint by MD5: ${md5.slice(0, 5)}`,
      `url: sftp://j@h\nagent: true\nhostKey: ${md5}`,
      [`5:12: error: /to/hostKey: ${MD5}`],
    ]),
    ...[
      'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB',
      'ecdsa-sha2-nistp256 AAAAE2Vj',
      'AAAAC3NzaC1lZDI1NTE5AAAAIB',
    ].map((key): [string, string, string[]] => [
      `a public key: ${key.slice(0, 8)}`,
      `url: sftp://j@h\nagent: true\nhostKey: ${key}`,
      [`5:12: error: /to/hostKey: ${ITSELF}`],
    ]),
    [
      'host keys that are none',
      `url: sftp://j@h\nagent: true\nhostKey:\n  - SHA256:47DEQpj8HBSa\n  - ${KEY.replace('SHA256:', 'sha256/')}\n  - ${KEY.slice(0, -1)}V\n  - 5`,
      [
        `6:7: error: /to/hostKey/0: ${HOST_KEY}`,
        `7:7: error: /to/hostKey/1: ${HOST_KEY}`,
        `8:7: error: /to/hostKey/2: ${HOST_KEY}`,
        '9:7: error: /to/hostKey/3: must be a text, but this is a number; put it in quotes',
      ],
    ],
    [
      'no host key in a list',
      'url: sftp://j@h\nagent: true\nhostKey: []',
      ['5:12: error: /to/hostKey: must not be an empty list; write an entry, or take the key away'],
    ],
    ...['yes', 'on', '$SSH_AUTH_SOCK', '$XDG_RUNTIME_DIR/agent'].map((agent): [string, string, string[]] => [
      `an agent that is neither: ${agent}`,
      `url: sftp://j@h\nagent: ${agent}`,
      [`4:10: error: /to/agent: ${AGENT}`],
    ]),
    [
      'the home of somebody else',
      'url: sftp://j@h\nagent: true\nknownHosts: ~john/.ssh/known_hosts',
      [
        "5:15: error: /to/knownHosts: the home directory of another user is written out, such as /home/john; ~/ is one's own",
      ],
    ],
    [
      'words of other programs',
      'url: sftp://j@h\nidentityFile: k\nsshKey: k\nprivate_key: k\nfingerprint: k\nknown_hosts: k\nproxyJump: k\nsshAgent: k\nkeyPassphrase: k',
      [
        '4:3: error: /to/identityFile: unknown key "identityFile"; did you mean "privateKey"?',
        '5:3: error: /to/sshKey: unknown key "sshKey"; did you mean "privateKey"?',
        '6:3: error: /to/private_key: unknown key "private_key"; did you mean "privateKey"?',
        '7:3: error: /to/fingerprint: unknown key "fingerprint"; did you mean "hostKey"?',
        '8:3: error: /to/known_hosts: unknown key "known_hosts"; did you mean "knownHosts"?',
        '9:3: error: /to/proxyJump: unknown key "proxyJump"; did you mean "via"?',
        '10:3: error: /to/sshAgent: unknown key "sshAgent"; did you mean "agent"?',
        '11:3: error: /to/keyPassphrase: unknown key "keyPassphrase"; did you mean "passphrase"?',
      ],
    ],
    [
      'another scheme, and what is wrong all the same',
      `url: ssh://j@h\npassphrase: { env: P }\nhostKey: "${KEY}"\nknownHosts: k\ntls: { key: { env: K } }`,
      [
        '3:8: error: /to/url: files go over SSH by SFTP: write sftp:// in place of ssh://',
        '4:3: error: /to/passphrase: a passphrase opens a private key, and there is none; write privateKey: { file: PATH } beside it, or password in place of passphrase',
        '5:3: error: /to/hostKey: hostKey and knownHosts are two ways to trust; take one of them away',
        '7:10: error: /to/tls/key: a private key needs its certificate; write certificate: PATH beside it',
      ],
    ],
  ])('%s', async (_, keys, expected) => {
    const lines = await linesOf(keys);
    expect(lines).toEqual(expected);
    expect(lines.join()).not.toContain('hunter2');
  });

  test('links that are followed, or have no time', async () => {
    const servers = 'nas: { url: "sftp://j@h", agent: true }';
    const { lines } = await load({
      'servers.yaml': servers,
      'a.yaml': 'from: nas:x\nto: /a\nlinks: follow',
      'b.yaml': 'from: /a\nto: "nas:{mtime:yyyy}"\nlinks: preserve',
      'c.yaml': 'from: /a\nto: nas:x\nlinks: dereference',
      'd.yaml': 'from: /a\nto: nas:x\nlinks: keep',
    });
    expect(lines).toEqual([
      'a.yaml:3:8: error: /links: links are followed only in a local from; take links away, or write links: preserve to have them here as links',
      'b.yaml:2:5: error: /to: {mtime} finds a place for files by their times, and has none for a link that stays one; take it away, or write links: skip',
      'c.yaml:3:8: error: /links: must be one of skip, follow, preserve; did you mean "follow"?',
      'd.yaml:3:8: error: /links: must be one of skip, follow, preserve; did you mean "preserve"?',
    ]);
  });
});

describe('via', () => {
  const THROUGH_ITSELF =
    'a server cannot be reached through itself; name the one that stands before it, or take via away';
  const SFTP = (name: string, via?: string): string =>
    `${name}: { url: "sftp://j@${name}", agent: true${via === undefined ? '' : `, via: ${via}`} }\n`;
  const NAMED = 'server: a';

  test.each<[string, string, string[]]>([
    [
      'a name that is none',
      `${SFTP('a', 'gat')}${SFTP('gate')}`,
      [
        '3:11: error: /to/server: the server "a" has a mistake in servers.yaml:1:43; correct it there',
        'servers.yaml:1:43: error: /a/via: via names no server of servers.yaml; did you mean "gate"?',
      ],
    ],
    [
      'itself',
      SFTP('a', 'a'),
      [
        '3:11: error: /to/server: the server "a" has a mistake in servers.yaml:1:43; correct it there',
        `servers.yaml:1:43: error: /a/via: ${THROUGH_ITSELF}`,
      ],
    ],
    [
      'itself by another name',
      `${SFTP('a', 'b')}b: { url: "sftp://j@A:22", agent: true }\n`,
      [
        '3:11: error: /to/server: the server "a" has a mistake in servers.yaml:1:43; correct it there',
        `servers.yaml:1:43: error: /a/via: ${THROUGH_ITSELF}`,
      ],
    ],
    [
      'an FTP server',
      `${SFTP('a', 'b')}b: { url: "ftp://b" }\n`,
      [
        '3:11: error: /to/server: the server "a" has a mistake in servers.yaml:1:43; correct it there',
        'servers.yaml:1:43: error: /a/via: via leads through a server that one logs in to by SSH, and this one speaks FTP; name an sftp:// server, or take via away',
      ],
    ],
    [
      'a server with a mistake of its own',
      `${SFTP('a', 'b')}b: { url: "sftp://b", agent: true }\n`,
      [
        '3:11: error: /to/server: the server "a" has a mistake in servers.yaml:1:43; correct it there',
        'servers.yaml:1:43: error: /a/via: the server "b" has a mistake in servers.yaml:2:11; correct it there',
        `servers.yaml:2:11: error: /b/url: ${NO_USER}`,
      ],
    ],
    [
      'a circle, and somebody who is led into it',
      `${SFTP('a', 'b')}${SFTP('b', 'c')}${SFTP('c', 'b')}`,
      [
        '3:11: error: /to/server: the server "a" has a mistake in servers.yaml:1:43; correct it there',
        'servers.yaml:1:43: error: /a/via: the server "b" has a mistake in servers.yaml:2:43; correct it there',
        'servers.yaml:2:43: error: /b/via: leads round in a circle: b through c through b; one of them has to be reached without via',
        'servers.yaml:3:43: error: /c/via: the server "b" has a mistake in servers.yaml:2:43; correct it there',
      ],
    ],
    [
      'other mistakes are told besides',
      'a: { url: "sftp://j@a", agent: true, via: b, connections: 0 }\n',
      [
        '3:11: error: /to/server: the server "a" has a mistake in servers.yaml:1:43; correct it there',
        'servers.yaml:1:43: error: /a/via: via names no server of servers.yaml',
        'servers.yaml:1:59: error: /a/connections: must be at least 1',
      ],
    ],
    [
      'no name at all',
      'a: { url: "sftp://j@a", agent: true, via: j@gate.example }\n',
      [
        '3:11: error: /to/server: the server "a" has a mistake in servers.yaml:1:43; correct it there',
        'servers.yaml:1:43: error: /a/via: a server name begins with a letter and goes on with letters, digits, - and _ (at most 100), such as nas',
      ],
    ],
  ])('%s', async (_, servers, expected) => {
    expect(await linesOf(NAMED, servers)).toEqual(expected);
  });

  test('inline, the same', async () => {
    const servers = `${SFTP('gate')}ftp: { url: "ftp://x" }\nbad: { url: "sftp://x" , agent: true }\n`;
    const inline = (via: string): string => `url: sftp://j@h/x\nagent: true\nvia: ${via}`;
    const { jobs, lines } = await load({
      'servers.yaml': servers,
      'a.yaml': `from: /a\nto:\n${inline('gate').replace(/^/gm, '  ')}\n`,
    });
    expect(jobs[0]?.server).toMatchObject({ host: 'h', via: { host: 'gate', via: undefined } });
    expect(lines).toEqual([`servers.yaml:3:13: error: /bad/url: ${NO_USER}`]);
    expect((await linesOf(inline('gat'), SFTP('gate')))[0]).toBe(
      '5:8: error: /to/via: via names no server of servers.yaml; did you mean "gate"?',
    );
    expect((await linesOf(inline('gate')))[0]).toBe(
      '5:8: error: /to/via: via names no server of servers.yaml',
    );
    expect((await linesOf(inline('ftp'), servers))[0]).toContain('and this one speaks FTP');
    expect((await linesOf(inline('bad'), servers))[0]).toBe(
      '5:8: error: /to/via: the server "bad" has a mistake in servers.yaml:3:13; correct it there',
    );
    expect((await linesOf(inline('h'), SFTP('h')))[0]).toContain(THROUGH_ITSELF);
  });

  test('a chain of eight is gone through, of nine not, and a thousand are no trouble', async () => {
    const chain = (length: number): string =>
      Array.from({ length: length + 1 }, (_, index) =>
        SFTP(index === 0 ? 'a' : `s${index}`, index === length ? undefined : `s${index + 1}`),
      ).join('');
    const { jobs, lines } = await load({ 'servers.yaml': chain(8), 'a.yaml': 'from: /a\nto: a:x' });
    expect(lines).toEqual([]);
    let hops = 0;
    for (let next = jobs[0]?.server; next?.protocol === 'sftp'; next = next.via) hops += 1;
    expect(hops).toBe(9);
    expect((await linesOf(NAMED, chain(9))).slice(1)).toEqual([
      'servers.yaml:1:43: error: /a/via: leads through 9 servers, one behind the other; ferryd goes through 8 at most',
    ]);
    const many = await linesOf(NAMED, chain(1_000));
    expect(many).toHaveLength(1_000 - 8 + 1);
    expect(many.filter((line) => line.includes('leads through 9 servers'))).toHaveLength(1);
  });

  test('a circle of a thousand is one circle', async () => {
    const circle = Array.from({ length: 1_000 }, (_, index) =>
      SFTP(index === 0 ? 'a' : `s${index}`, index === 999 ? 'a' : `s${index + 1}`),
    ).join('');
    const lines = await linesOf(NAMED, circle);
    expect(lines.filter((line) => line.includes('circle'))).toEqual([
      expect.stringContaining('a through s1 through s2 through s3 through ... through a;'),
    ]);
  });
});

test('a server by its name, whatever is wrong with the jobs and the other servers', async () => {
  const { directory } = await load({
    'servers.yaml':
      'vault: { url: "sftp://j@vault", agent: true, via: gate }\ngate: { url: "sftp://j@gate", agent: true }\nbad: { url: "sftp://bad" }\n',
    'a.yaml': 'from: [',
  });
  const find = (name: string) => lookUpServer(directory, name, { cron: () => undefined });
  expect(await find('vault')).toMatchObject({
    kind: 'server',
    server: { host: 'vault', via: { host: 'gate' } },
  });
  expect(await find('bad')).toEqual({
    kind: 'broken',
    message: 'the server "bad" has a mistake in servers.yaml:3:13; correct it there',
  });
  expect(await find('vautl')).toMatchObject({ kind: 'unknown', suggestion: 'vault' });
});
