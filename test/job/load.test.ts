/*
 * Whole jobs directories, good and bad: what is loaded, and every mistake as the line that a person sees.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { Job } from '../../src/job/job.js';
import { type Files, load, loadDirectory, temporaryDirectory } from './directory.js';

const SERVERS = 'nas:\n  url: ftpes://nas.example.net\n  user: backup\n  password: { credential: nas }\n';
const LINES_OF = async (job: string, more: Files = {}): Promise<string[]> => {
  const { lines } = await load({ 'servers.yaml': SERVERS, ...more, 'a.yaml': job });
  return lines;
};

const DEFAULTS = {
  log: { level: 'info', files: 'show', file: undefined },
  stop: { withinMs: 25_000 },
  runsAtOnce: 4,
  history: { keepMs: 7_776_000_000 },
  notify: [],
};

describe('what is right', () => {
  test('the job and the server of the issue, with everything written', async () => {
    const { jobs, lines, directory, agent } = await load({
      'nightly-backup.yaml': `# jobs/nightly-backup.yaml
description: Database dumps to the NAS, every night
from: /var/backups/db
to: nas:dumps
mode: mirror
compare: checksum
deletes: { policy: delete, extraneous: true, limit: { percent: 2.5, files: 7 } }
marker: disk/.mounted
triggers:
  - cron: "30 2 * * *"
    timezone: Europe/Berlin
    missed: skip
  - watch: { settle: 2s, rescan: 30m }
include: ["**/*.gz"]
exclude: ["**/*.tmp"]
hidden: skip
size: { min: 1B, max: 2GiB }
age: { min: 10m, max: 30d }
links: follow
emptyDirectories: keep
names: encode
retries: { attempts: 3, firstDelay: 100ms, maxDelay: 1m }
`,
      'servers.yaml': `nas:
  url: ftpes://nas.example.net:2121
  user: backup
  password: { credential: nas }
  account: { env: NAS_ACCOUNT }
  tls:
    ca: nas-ca.pem
    serverName: NAS.example.net
    certificate: us.pem
    key: { file: us.key }
    passphrase: { credential: us }
  connections: 2
  dataConnection: active
  active: { address: 192.0.2.7, ports: 50000-50100 }
  charset: Windows-1252
  verify: hash
  timeouts: { connect: 1s, reply: 2s, stall: 3s, transfer: 4h }
`,
      'agent.yaml': 'log: { level: debug }\nstop: { within: 10s }\nrunsAtOnce: 2\n',
    });
    expect(lines).toEqual([]);
    const expected: Job = {
      name: 'nightly-backup',
      file: path.join(directory, 'nightly-backup.yaml'),
      description: 'Database dumps to the NAS, every night',
      mode: 'mirror',
      direction: 'push',
      local: '/var/backups/db',
      server: {
        name: 'nas',
        protocol: 'ftp',
        security: 'explicit',
        host: 'nas.example.net',
        port: 2121,
        user: 'backup',
        password: { kind: 'credential', name: 'nas' },
        account: { kind: 'env', name: 'NAS_ACCOUNT' },
        tls: {
          caFile: path.join(directory, 'nas-ca.pem'),
          pin: undefined,
          verify: true,
          serverName: 'nas.example.net',
          certificateFile: path.join(directory, 'us.pem'),
          key: { kind: 'file', path: path.join(directory, 'us.key') },
          passphrase: { kind: 'credential', name: 'us' },
        },
        connections: 2,
        dataConnection: 'active',
        active: { address: '192.0.2.7', ports: { first: 50_000, last: 50_100 } },
        charset: 'windows-1252',
        verify: 'hash',
        timeouts: { connectMs: 1_000, replyMs: 2_000, stallMs: 3_000, transferMs: 14_400_000 },
      },
      remotePath: { path: 'dumps', absolute: false },
      triggers: [
        { kind: 'cron', expression: '30 2 * * *', timezone: 'Europe/Berlin', missed: 'skip', jitterMs: 0 },
        { kind: 'watch', settleMs: 2_000, rescanMs: 1_800_000, events: 'auto', pollMs: 30_000 },
      ],
      include: ['**/*.gz'],
      exclude: ['**/*.tmp'],
      hidden: 'skip',
      size: { minBytes: 1, maxBytes: 2 * 1024 ** 3 },
      age: { minMs: 600_000, maxMs: 2_592_000_000 },
      links: 'follow',
      ready: undefined,
      permissions: 'leave',
      compare: 'checksum',
      conflicts: 'keep-both',
      deletes: {
        policy: 'delete',
        keepMs: 2_592_000_000,
        extraneous: true,
        limit: { percent: 2.5, files: 7 },
      },
      marker: 'disk/.mounted',
      emptyDirectories: 'keep',
      names: 'encode',
      timezone: undefined,
      retries: { attempts: 3, firstDelayMs: 100, maxDelayMs: 60_000 },
      before: undefined,
      after: undefined,
      expect: { freshnessMs: undefined },
      ping: undefined,
      notify: undefined,
    };
    expect(jobs).toEqual([expected]);
    expect(agent).toEqual({
      ...DEFAULTS,
      log: { ...DEFAULTS.log, level: 'debug' },
      stop: { withinMs: 10_000 },
      runsAtOnce: 2,
    });
  });

  test('the shortest job: every default', async () => {
    const { jobs, lines, directory, agent } = await load({
      'a.yml': 'from: ftp://h\nto: in\ntriggers:\n  - cron: "0 0 1 1 * *"\n',
    });
    expect(lines).toEqual([]);
    expect(jobs).toEqual([
      {
        name: 'a',
        file: path.join(directory, 'a.yml'),
        description: '',
        mode: 'copy',
        direction: 'pull',
        local: path.join(directory, 'in'),
        server: {
          name: 'h',
          protocol: 'ftp',
          security: 'plain',
          host: 'h',
          port: 21,
          user: 'anonymous',
          password: undefined,
          account: undefined,
          tls: {
            caFile: undefined,
            pin: undefined,
            verify: true,
            serverName: undefined,
            certificateFile: undefined,
            key: undefined,
            passphrase: undefined,
          },
          connections: 4,
          dataConnection: 'auto',
          active: { address: undefined, ports: undefined },
          charset: 'utf-8',
          verify: 'auto',
          timeouts: { connectMs: 20_000, replyMs: 60_000, stallMs: 60_000, transferMs: 86_400_000 },
        },
        remotePath: { path: '', absolute: false },
        triggers: [
          { kind: 'cron', expression: '0 0 1 1 * *', timezone: undefined, missed: 'run-once', jitterMs: 0 },
        ],
        include: ['**'],
        exclude: [],
        hidden: 'include',
        size: { minBytes: undefined, maxBytes: undefined },
        age: { minMs: undefined, maxMs: undefined },
        links: 'skip',
        ready: undefined,
        permissions: 'leave',
        compare: 'ledger',
        conflicts: 'keep-both',
        deletes: {
          policy: 'delete',
          keepMs: 2_592_000_000,
          extraneous: false,
          limit: { percent: 10, files: 100 },
        },
        marker: undefined,
        emptyDirectories: 'skip',
        names: 'skip',
        timezone: undefined,
        retries: { attempts: 5, firstDelayMs: 1_000, maxDelayMs: 300_000 },
        before: undefined,
        after: undefined,
        expect: { freshnessMs: undefined },
        ping: undefined,
        notify: undefined,
      },
    ]);
    expect(agent).toEqual(DEFAULTS);
  });

  test.each<[string, object]>([
    ['from: /a\nto: { server: nas, path: /srv/x }', { remotePath: { path: '/srv/x', absolute: true } }],
    ['from: /a\nto: { server: nas }', { remotePath: { path: '', absolute: false } }],
    ['from: /a\nto: nas:/srv/x', { remotePath: { path: '/srv/x', absolute: true } }],
    ['from: nas:out\nto: ~/in', { direction: 'pull', local: path.join(homedir(), 'in') }],
    ['from: ./a:b\nto: nas:x', { local: expect.stringMatching(/\/a:b$/) }],
    ['from: /a\nto: { url: "ftps://h/x/y" }', { server: { port: 990 }, remotePath: { path: 'x/y' } }],
    ['from: /a\nto: { url: "ftps://h", path: x%20y }', { remotePath: { path: 'x%20y' } }],
    [
      'from: /a\nto: nas:x\ntriggers: [{ watch: {} }]',
      { triggers: [{ settleMs: 5_000, rescanMs: 3_600_000 }] },
    ],
    [
      'from: /a\nto: { url: "ftpes://john@h", password: { file: secrets/pw } }',
      {
        server: {
          user: 'john',
          password: { kind: 'file', path: expect.stringMatching(/^\/.*\/secrets\/pw$/) },
        },
      },
    ],
    [
      'from: /a\nto: { url: "ftpes://h", user: j, password: { command: [./get, x] } }',
      { server: { password: { kind: 'command', argv: [expect.stringMatching(/^\/.*\/get$/), 'x'] } } },
    ],
    [
      'from: /a\nto: { url: "ftpes://h", user: j, password: { command: [pass, ./x] } }',
      { server: { password: { kind: 'command', argv: ['pass', './x'] } } },
    ],
    [
      'from: /a\nto: { url: "ftpes://h", tls: { pin: sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= } }',
      { server: { tls: { pin: 'sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' } } },
    ],
    [
      'from: /a\nto: { url: "ftp://h", connections: 1, active: { ports: 50000 } }',
      {
        server: {
          dataConnection: 'auto',
          active: { address: undefined, ports: { first: 50_000, last: 50_000 } },
        },
      },
    ],
    [
      'from: /a\nto: { url: "ftp://h", connections: 2, active: { address: "2001:DB8::7", ports: "65534-65535" } }',
      { server: { active: { address: '2001:DB8::7', ports: { first: 65_534, last: 65_535 } } } },
    ],
    ['from: /a\nto: { url: "ftp://h", active: {}, verify: size }', { server: { verify: 'size' } }],
    ['from: /a\nto: { url: "ftp://h", charset: KOI8-R }', { server: { charset: 'koi8-r' } }],
    [
      'from: /a\nto: { url: "ftps://h", tls: { certificate: /c.pem, key: { env: KEY } } }',
      {
        server: {
          tls: { certificateFile: '/c.pem', key: { kind: 'env', name: 'KEY' }, passphrase: undefined },
        },
      },
    ],
    [
      'from: /a\nto: nas:x\ntriggers: [{ cron: " @daily " }]',
      { triggers: [{ kind: 'cron', expression: '@daily' }] },
    ],
    ['from: &x /a\nto: nas:x\ndescription: *x', { description: '/a' }],
    ['\ufefffrom: /a\r\nto: nas:x\r\n', { local: '/a' }],
  ])('%j', async (text, expected) => {
    const { jobs, lines } = await load({ 'servers.yaml': SERVERS, 'a.yaml': text });
    expect(lines).toEqual([]);
    expect(jobs).toMatchObject([expected]);
  });
});

describe('what is wrong in a job, at its line and column', () => {
  test.each<[string, string, string[]]>([
    [
      'an unknown key',
      'from: /a\nto: nas:x\ninclde: ["*"]',
      ['3:1: error: /inclde: unknown key "inclde"; did you mean "include"?'],
    ],
    [
      'an unknown key like none',
      'from: /a\nto: nas:x\nzzz: 1',
      [
        '3:1: error: /zzz: unknown key "zzz"; known here: description, from, to, mode, compare, conflicts, deletes, marker, triggers, include, exclude, ready, permissions, hidden, size, age, links, emptyDirectories, names, timezone, retries, before, after, expect, ping, notify',
      ],
    ],
    [
      'a word of another program',
      'source: /a\nto: nas:x',
      ['1:1: error: /source: unknown key "source"; did you mean "from"?'],
    ],
    [
      'a misspelt required key is one mistake',
      'form: /a\nto: nas:x',
      ['1:1: error: /form: unknown key "form"; did you mean "from"?'],
    ],
    [
      'both ends missing',
      '# nothing\ndescription: x',
      [
        '2:1: error: /from: "from" is missing: say what is copied, a local directory, SERVER:PATH or a URL',
        '2:1: error: /to: "to" is missing: say where it goes, SERVER:PATH, a URL or a local directory',
      ],
    ],
    [
      'no mode at all',
      'from: /a\nto: nas:x\nmode: cpoy',
      ['3:7: error: /mode: must be one of copy, mirror, move, two-way; did you mean "copy"?'],
    ],
    [
      'a wrong type in each place',
      'from: 5\nto: [a]\ndescription: 5\ninclude: "*"\ntriggers: "30 2 * * *"\nretries: 3',
      [
        '1:7: error: /from: must be a text or a group of keys, but this is a number; put it in quotes',
        '2:5: error: /to: must be a text or a group of keys, but this is a list',
        '3:14: error: /description: must be a text, but this is a number; put it in quotes',
        '4:10: error: /include: must be a list; put it in brackets: ["..."]',
        '5:11: error: /triggers: must be a list: write - cron: "30 2 * * *" or - watch: {} below it',
        '6:10: error: /retries: must be a group of keys (attempts, firstDelay, maxDelay), but this is a number',
      ],
    ],
    [
      'keys without values',
      'from:\nto: nas:x\nretries:\ninclude:\n',
      [
        '1:1: error: /from: has no value; write one, or take the key away',
        '3:1: error: /retries: has no value; write {} for the defaults, or take the key away',
        '4:1: error: /include: has no value; write one, or take the key away',
      ],
    ],
    [
      'mistakes inside retries',
      'from: /a\nto: nas:x\nretries:\n  attempts: 0\n  firstDelay: 5\n  maxDelay: 2d',
      [
        '4:13: error: /retries/attempts: must be at least 1',
        '5:15: error: /retries/firstDelay: a duration needs a unit: write 5s, 5m or 5h',
        '6:13: error: /retries/maxDelay: must be at most 1d',
      ],
    ],
    [
      'delays the wrong way round',
      'from: /a\nto: nas:x\nretries: { firstDelay: 10m }',
      [
        '3:24: error: /retries/firstDelay: firstDelay is longer than maxDelay, which is 5m where it is not written; write maxDelay as well',
      ],
    ],
    [
      'sizes and ages',
      'from: /a\nto: nas:x\nsize: { min: 10, max: 2GB, about: 5M }\nage: { min: 0s, max: 4000d }\nhidden: no\nemptyDirectories: kep',
      [
        '3:14: error: /size/min: a size needs a unit: write 10B for bytes, or 10K, 10M, 10G',
        '3:23: error: /size/max: GB means 1000 to some and 1024 to others; write 2G, which counts in 1024',
        '3:28: error: /size/about: unknown key "about"; known here: min, max',
        '4:13: error: /age/min: must be at least 1s',
        '4:22: error: /age/max: a duration is at most 3650d',
        '5:9: error: /hidden: must be one of include, skip',
        '6:19: error: /emptyDirectories: must be one of keep, skip; did you mean "keep"?',
      ],
    ],
    [
      'limits that leave nothing',
      'from: /a\nto: nas:x\nsize: { min: 2G, max: 1G }\nage: { min: 30d, max: 1w }',
      [
        '3:23: error: /size/max: max is smaller than min, so no file would go across; exchange the two',
        '4:23: error: /age/max: max is shorter than min, so no file would go across; exchange the two',
      ],
    ],
    [
      'limits without limits',
      'from: /a\nto: nas:x\nsize: 10M\nage:',
      [
        '3:7: error: /size: must be a group of keys (min, max), but this is a text',
        '4:1: error: /age: has no value; write {} for the defaults, or take the key away',
      ],
    ],
    [
      'words of other programs',
      'from: /a\nto: nas:x\nsymlinks: follow\nfilesize: { atleast: 1B }\ndotfiles: skip',
      [
        '3:1: error: /symlinks: unknown key "symlinks"; did you mean "links"?',
        '4:1: error: /filesize: unknown key "filesize"; did you mean "size"?',
        '5:1: error: /dotfiles: unknown key "dotfiles"; did you mean "hidden"?',
      ],
    ],
    [
      'links that FTP cannot make',
      'from: /a\nto: nas:x\nlinks: preserve',
      [
        '3:8: error: /links: FTP has no command that makes a link, so links cannot be preserved; write links: skip, links: follow to send what they lead to, or sftp:// in the URL if the server speaks SFTP',
      ],
    ],
    [
      'links on a server',
      'from: nas:x\nto: /a\nlinks: follow',
      [
        '3:8: error: /links: links are followed only in a local from; on a server they stay behind, so take links away',
      ],
    ],
    [
      'patterns that match nothing',
      'from: /a\nto: nas:x\ninclude: []\nexclude: ["/x", "y/", "!z", "../a", ""]',
      [
        '3:10: error: /include: must not be an empty list; write an entry, or take the key away',
        '4:11: error: /exclude/0: patterns are relative to from; take the slash at the beginning away',
        '4:17: error: /exclude/1: a pattern matches files; for all that is in a directory write name/**',
        '4:23: error: /exclude/2: a pattern does not begin with !; what is left out belongs under exclude',
        '4:29: error: /exclude/3: patterns stay below from; ".." matches nothing',
        '4:37: error: /exclude/4: an empty pattern matches no file; write one such as "**/*.gz", or take it away',
      ],
    ],
  ])('%s', async (_, text, expected) => {
    expect(await LINES_OF(text)).toEqual(expected.map((line) => `a.yaml:${line}`));
  });

  test('triggers', async () => {
    const text = `from: /a
to: nas:x
triggers:
  - cron: "bad 2 * * *"
    timezone: Europe/Berlin
  - cron: "30 2 * *"
    timezone: Europe/Berln
    missed: run-onec
  - watch: { settle: 5, rescn: 1h }
  - watch:
  - 30 2 * * *
  - timezone: UTC
  - crn: "1 2 3 4 5"
  - watch: {}
    timezone: UTC
  - watch: { rescan: 30d }
  - cron: "0 0 * * *"
  - cron: "0 0 * * *"
`;
    expect(await LINES_OF(text)).toEqual([
      'a.yaml:4:11: error: /triggers/0/cron: is no schedule in Europe/Berlin',
      'a.yaml:6:11: error: /triggers/1/cron: a cron expression has five fields (minute hour day month weekday) or six (second first), this one has 4; an example is "30 2 * * *"',
      'a.yaml:7:15: error: /triggers/1/timezone: is no time zone that this machine knows; write an IANA name such as Europe/Berlin; did you mean "Europe/Berlin"?',
      'a.yaml:8:13: error: /triggers/1/missed: must be one of run-once, skip; did you mean "run-once"?',
      'a.yaml:9:22: error: /triggers/2/watch/settle: a duration needs a unit: write 5s, 5m or 5h',
      'a.yaml:9:25: error: /triggers/2/watch/rescn: unknown key "rescn"; did you mean "rescan"?',
      'a.yaml:10:5: error: /triggers/3/watch: has no value; write {} for the defaults, or take the key away',
      'a.yaml:11:5: error: /triggers/4: a trigger has a key: write - cron: "30 2 * * *" or - watch: {}',
      'a.yaml:12:5: error: /triggers/5/cron: a trigger needs cron: "30 2 * * *" or watch: {}',
      'a.yaml:13:5: error: /triggers/6/crn: unknown key "crn"; did you mean "cron"?',
      'a.yaml:14:5: error: /triggers/7: another watch trigger; one watches everything, keep one of them',
      'a.yaml:15:5: error: /triggers/7/timezone: unknown key "timezone"; known here: watch',
      'a.yaml:16:5: error: /triggers/8: another watch trigger; one watches everything, keep one of them',
      'a.yaml:16:22: error: /triggers/8/watch/rescan: must be at most 7d',
      'a.yaml:18:5: error: /triggers/10: the same schedule stands here already; keep one of the two',
    ]);
  });

  test.each<[string, string, string[]]>([
    [
      'both ends local',
      'from: /a\nto: b',
      [
        '2:5: error: /to: from and to are both local; one of them must be a server, written SERVER:PATH or sftp://HOST/PATH (or ftpes://)',
      ],
    ],
    [
      'a server without its colon',
      'from: /a\nto: nas',
      [
        '2:5: error: /to: from and to are both local; one of them must be a server, written SERVER:PATH or sftp://HOST/PATH (or ftpes://); did you mean "nas:"?',
      ],
    ],
    [
      'both ends on servers',
      'from: nas:a\nto: ftp://h/b\ntriggers: [{ watch: {} }]',
      [
        '2:5: error: /to: from and to are both on servers; one of them must be a local directory, so use two jobs with one in between',
      ],
    ],
    [
      'a watch over a server',
      'from: nas:a\nto: /b\ntriggers: [{ watch: {} }]',
      [
        '3:12: error: /triggers/0: watch sees only a local from; use cron to look at a server from time to time',
      ],
    ],
    [
      'an unknown server',
      'from: /a\nto: nass:x',
      ['2:5: error: /to: no server is named "nass" in servers.yaml; did you mean "nas"?'],
    ],
    [
      'an unknown server in an object, and its path',
      'from: /a\nto:\n  server: disk\n  path: ../x',
      [
        '3:11: error: /to/server: no server is named "disk" in servers.yaml',
        '4:9: error: /to/path: a path on a server must not hold ".."; write the directory itself, from / if need be',
      ],
    ],
    [
      'an object with no server',
      'from: /a\nto: { path: x }',
      [
        '2:5: error: /to/server: say which server: server: NAME for one of servers.yaml, or url: sftp://HOST/PATH (or ftpes://) to describe it here',
      ],
    ],
    [
      'a key of a named server',
      'from: /a\nto: { server: nas, pth: x }',
      ['2:20: error: /to/pth: unknown key "pth"; did you mean "path"?'],
    ],
    [
      'a password in a URL',
      'from: /a\nto: ftp://john:hunter2@h/x',
      [
        '2:5: error: /to: a password must not stand in a URL, where logs and other people see it; write { url: ftp://HOST/PATH, user: NAME, password: { credential: NAME } }, or env, file or command in place of credential',
      ],
    ],
    [
      'a password in the file',
      'from: /a\nto: { url: "ftps://h", user: j, password: hunter2 }',
      [
        '2:43: error: /to/password: a secret does not stand in this file: write { credential: NAME }, { env: NAME }, { file: PATH } or { command: [PROGRAM, ...] }',
      ],
    ],
    [
      'a password where a key belongs',
      'from: /a\nto: { url: "ftps://h", user: j, password: { hunter2 } }',
      ['2:43: error: /to/password: unknown key; known here: credential, env, file, command'],
    ],
    [
      'two sources of a password',
      'from: /a\nto: { url: "ftps://h", user: j, password: { env: A, file: b } }',
      ['2:43: error: /to/password: must have exactly one of the keys credential, env, file, command'],
    ],
    [
      'a misspelt source of a password',
      'from: /a\nto: { url: "ftps://h", user: j, password: { credental: nas } }',
      ['2:45: error: /to/password/credental: unknown key "credental"; did you mean "credential"?'],
    ],
    [
      'sources that cannot be',
      'from: /a\nto: { url: "ftps://h", user: j, password: { env: $A }, account: { credential: a/b } }',
      [
        '2:50: error: /to/password/env: an environment variable has a name of letters, digits and _, without $, such as NAS_PASSWORD',
        '2:79: error: /to/account/credential: a credential name is made of letters, digits and . _ - @ : (it is a file name in $CREDENTIALS_DIRECTORY)',
      ],
    ],
    [
      'keys of TLS without TLS, one user twice',
      'from: /a\nto:\n  url: ftp://john@h\n  user: jim\n  password: { env: P }\n  tls: { verify: false }',
      [
        '4:9: error: /to/user: the URL names a user already; take one of the two away',
        '6:3: error: /to/tls: an ftp:// server has no TLS; write ftpes:// or ftps:// in its URL, or take tls away',
      ],
    ],
    [
      'trust that contradicts itself',
      'from: /a\nto:\n  url: ftps://h\n  tls: { ca: a.pem, pin: sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=, verify: false }',
      [
        '4:21: error: /to/tls/pin: ca and pin are two ways to trust; take one of them away',
        '4:87: error: /to/tls/verify: verify: false would switch ca off; take one of them away',
      ],
    ],
    [
      'a pin, a name and a switch that are none',
      'from: /a\nto:\n  url: ftps://h\n  tls: { pin: abc, serverName: 10.0.0.1, verify: no }',
      [
        '4:15: error: /to/tls/pin: a pin is sha256/ and 44 characters of base64, the SHA-256 of the public key',
        '4:32: error: /to/tls/serverName: must be a host name, not an IP address: TLS asks for names only',
        '4:50: error: /to/tls/verify: must be true or false without quotes, but this is a text',
      ],
    ],
    [
      'a certificate without its key, and a passphrase for none',
      'from: /a\nto:\n  url: ftps://h\n  tls: { certificate: us.pem, passphrase: { env: P } }',
      [
        '4:10: error: /to/tls/certificate: the certificate that this machine shows needs its private key; write key: { file: PATH } beside it, or ca in place of certificate if it is what the server is trusted by',
        '4:31: error: /to/tls/passphrase: a passphrase needs the private key that it opens; write key: { file: PATH } beside it',
      ],
    ],
    [
      'a key without its certificate',
      'from: /a\nto:\n  url: ftps://h\n  tls: { key: { file: us.key }, passphrase: { env: P } }',
      ['4:10: error: /to/tls/key: a private key needs its certificate; write certificate: PATH beside it'],
    ],
    [
      'a key whose certificate is mistaken is one mistake',
      'from: /a\nto:\n  url: ftps://h\n  tls: { certificate: 5, key: { file: us.key } }',
      ['4:23: error: /to/tls/certificate: must be a text, but this is a number; put it in quotes'],
    ],
    [
      'a key and a passphrase in the file',
      'from: /a\nto:\n  url: ftps://h\n  tls:\n    certificate: us.pem\n    key: |\n      hunter2\n    passphrase: { hunter2 }',
      [
        '6:10: error: /to/tls/key: a private key is a secret: write where it comes from, { file: PATH }, { credential: NAME }, { env: NAME } or { command: [PROGRAM, ...] }',
        '8:17: error: /to/tls/passphrase: unknown key; known here: credential, env, file, command',
      ],
    ],
    [
      'an empty path of a certificate',
      'from: /a\nto:\n  url: ftps://h\n  tls: { certificate: "", key: { env: K } }',
      ['4:23: error: /to/tls/certificate: the path is empty; write one, or take the key away'],
    ],
    [
      'active and passive at once',
      'from: /a\nto:\n  url: ftp://h\n  dataConnection: passive\n  active: { ports: 50000-50100 }',
      [
        '5:3: error: /to/active: active says how the server connects to this machine, and dataConnection: passive that it never does; take one of them away',
      ],
    ],
    [
      'active mode with what it is not',
      'from: /a\nto:\n  url: ftp://h\n  active: { address: nas.example.net, ports: 50100-50000, nat: yes }',
      [
        '4:22: error: /to/active/address: must be an IP address, such as 192.0.2.7 or 2001:db8::7; a name has no meaning here',
        '4:46: error: /to/active/ports: the range of ports ends before it begins; write 50000-50100',
        '4:59: error: /to/active/nat: unknown key "nat"; known here: address, ports',
      ],
    ],
    [
      'active mode as a switch, and words of other programs',
      'from: /a\nto:\n  url: ftp://h\n  active: true\n  passive: true\n  encoding: latin1\n  checksum: sha256',
      [
        '4:11: error: /to/active: must be a group of keys (address, ports), but this is true or false',
        '5:3: error: /to/passive: unknown key "passive"; did you mean "dataConnection"?',
        '6:3: error: /to/encoding: unknown key "encoding"; did you mean "charset"?',
        '7:3: error: /to/checksum: unknown key "checksum"; did you mean "verify"?',
      ],
    ],
    [
      'words that are none',
      'from: /a\nto:\n  url: ftp://h\n  dataConnection: actve\n  charset: latin1\n  verify: sha256\n  active: { ports: true }',
      [
        '4:19: error: /to/dataConnection: must be one of auto, passive, active; did you mean "active"?',
        '5:12: error: /to/charset: is no charset that ferryd can write names in; known are utf-8, iso-8859-1 to iso-8859-15, windows-1250 to windows-1258 and others of the job reference; did you mean "iso-8859-1"?',
        '6:11: error: /to/verify: must be one of auto, size, hash',
        '7:20: error: /to/active/ports: must be a text or a whole number, but this is true or false; put it in quotes',
      ],
    ],
    [
      'times that are none',
      'from: /a\nto:\n  url: ftp://h\n  timeouts: { transfer: 31d, stall: 5 }',
      [
        '4:25: error: /to/timeouts/transfer: must be at most 30d',
        '4:37: error: /to/timeouts/stall: a duration needs a unit: write 5s, 5m or 5h',
      ],
    ],
    [
      'a password without a user',
      'from: /a\nto: { url: "ftps://h", password: { env: A } }',
      ['2:24: error: /to/password: a password needs a user; write user: NAME beside it'],
    ],
    [
      'two paths',
      'from: /a\nto: { url: "ftps://h/x", path: y }',
      ['2:32: error: /to/path: the URL has a path already; take one of the two away'],
    ],
    [
      'the home of somebody else',
      'from: ~john/x\nto: nas:x',
      [
        "1:7: error: /from: the home directory of another user is written out, such as /home/john; ~/ is one's own",
      ],
    ],
    [
      'empty paths',
      'from: ""\nto: nas:x',
      ['1:7: error: /from: must not be empty; write a text, or take the key away'],
    ],
  ])('the ends: %s', async (_, text, expected) => {
    const lines = await LINES_OF(text);
    expect(lines).toEqual(expected.map((line) => `a.yaml:${line}`));
    expect(lines.join()).not.toContain('hunter2');
  });

  const QUOTES =
    'a text that begins with * must stand in quotes (a bare * is a reference in YAML), such as "*.gz" or "* * * * *"';
  test.each<[string, string[]]>([
    ['', ['1:1: error: the file is empty; write the job: from, to and triggers']],
    ['# from: /a\n', ['1:1: error: the file is empty; write the job: from, to and triggers']],
    ['~', ['1:1: error: the file is empty; write the job: from, to and triggers']],
    [
      'from',
      ['1:1: error: the file must hold lines of the form "key: value", with a space behind the colon'],
    ],
    [
      '- from: /a',
      [
        '1:1: error: must be a group of keys (description, from, to, mode, compare, conflicts, deletes, marker, triggers, include, exclude, ready, permissions, hidden, size, age, links, emptyDirectories, names, timezone, retries, before, after, expect, ping, notify), but this is a list',
      ],
    ],
    ['from: /a\nfrom: /b\nto: nas:x', ['2:1: error: /from: the key "from" stands twice; keep one of them']],
    [
      'from: /a\nto: nas:x\ninclude: [**/*.gz, *.x]\nexclud: []',
      [
        `3:11: error: /include/0: ${QUOTES}`,
        `3:20: error: /include/1: ${QUOTES}`,
        '4:1: error: /exclud: unknown key "exclud"; did you mean "exclude"?',
      ],
    ],
    ['from: /a\nto: nas:x\ntriggers:\n  - cron: */5 * * * *', [`4:11: error: ${QUOTES}`]],
    ['from: /a\nto: nas:x\ntriggers:\n  - cron: * * * * *', [`4:11: error: ${QUOTES}`]],
    [
      'from: &a [*a]\nto: nas:x',
      [
        `1:11: error: /from/0: ${QUOTES}`,
        '1:10: error: /from: must be a text or a group of keys, but this is a list',
      ],
    ],
    ['from: /a\n\tto: nas:x', ['2:1: error: a tab cannot indent in YAML; use spaces']],
    ['from: /a\nto: "nas:x', ['2:11: error: a quote is opened and not closed before the end']],
    [
      'from: /a\n---\nto: nas:x',
      [
        '2:1: error: a second document begins here (--- or ...); a file holds one, so write a file for each job',
      ],
    ],
    [
      'from: !local /a\nto: nas:x',
      ['1:7: error: YAML tags (!name) have no meaning here; take the tag away, or put the text in quotes'],
    ],
    [
      'from: /a\nto: nas:x\ndescription: a: b',
      [
        '3:14: error: a second "key: value" where a value is expected; put a text that holds ": " in quotes, or correct the indentation',
      ],
    ],
    [
      'from: /a\nto: @x',
      ['2:5: error: a text that begins with @, %, ` or another special sign must stand in quotes'],
    ],
    [
      "from: 'it's'\nto: nas:x",
      [
        '1:11: error: something stands behind a finished value; put the whole text in quotes (a quote inside single quotes is written twice)',
      ],
    ],
    [
      'from: [/a\nto: nas:x',
      ['2:1: error: the indentation is wrong here, or a bracket [ or { above is not closed'],
    ],
    [
      'from: /a\nto nas:x\ninclude: []',
      [
        '2:1: error: a line of the form "key: value" is expected here; is a colon missing, or the space behind it?',
      ],
    ],
    ['[a]: b', ['1:1: error: a key must be a plain text']],
  ])('YAML: %j', async (text, expected) => {
    expect((await LINES_OF(text)).toSorted()).toEqual(expected.map((line) => `a.yaml:${line}`).toSorted());
  });

  test('bounds: depth, references, length, number of mistakes', async () => {
    expect(await LINES_OF(`from: ${'['.repeat(100_000)}`)).toEqual([
      expect.stringMatching(/^a\.yaml:1:\d+: error: the YAML is nested too deeply to be read$/),
    ]);
    expect(await LINES_OF(`from: ${'['.repeat(60)}${']'.repeat(60)}`)).toEqual([
      expect.stringMatching(/^a\.yaml:1:\d+: error: the YAML is nested too deeply to be read$/),
    ]);
    const laughs = ['a: &a [x, x, x, x, x, x, x, x, x]'];
    for (const [name, of] of ['ba', 'cb', 'dc', 'ed', 'fe'].map((pair) => [...pair])) {
      laughs.push(`${name}: &${name} [${Array(9).fill(`*${of}`).join(', ')}]`);
    }
    expect(await LINES_OF(laughs.join('\n'))).toEqual([
      'a.yaml:1:1: error: the YAML refers to its own parts (&name, *name) too often; write the parts out',
    ]);
    expect(await LINES_OF(`from: /a\nto: nas:x\ninclude: [${'"x", '.repeat(25_000)}]`)).toEqual([
      expect.stringMatching(/error: the file has more than 20000 keys and values/),
    ]);
    const many = await LINES_OF(Array.from({ length: 5_000 }, (_, index) => `k${index}: 1`).join('\n'));
    expect(many).toHaveLength(101);
    expect(many).toContain('a.yaml:1:1: error: more than 100 mistakes; the others are not shown');
  });

  test('text of the file reaches a terminal only in a harmless form', async () => {
    expect(await LINES_OF('from: /a\nto: nas:x\n"\\e[31m\\u202ered": 1')).toEqual([
      'a.yaml:3:1: error: /\\u{1b}[31m\\u{202e}red: unknown key "\\u{1b}[31m\\u{202e}red"; known here: description, from, to, mode, compare, conflicts, deletes, marker, triggers, include, exclude, ready, permissions, hidden, size, age, links, emptyDirectories, names, timezone, retries, before, after, expect, ping, notify',
    ]);
  });
});

describe('warnings do not keep a job from loading', () => {
  test.each<[string, string[]]>([
    [
      'from: /a\nto: { url: "ftp://h.example/x", user: u, password: { env: X } }',
      [
        '2:12: warning: /to/url: the password and the files go to h.example unencrypted, for everybody on the way to read; write sftp:// or ftpes:// if the server speaks SSH or TLS',
      ],
    ],
    [
      'from: /a\nto: { url: "ftpes://h.example/x", tls: { verify: false } }',
      [
        '2:50: warning: /to/tls/verify: the certificate of h.example is not checked, so anybody on the way can play the server and read the password and the files; write ca or pin in place of verify: false',
      ],
    ],
    [
      'from: /a\nto: ftpes://john@h/x',
      [
        '2:5: warning: /to: the user has no password, and most servers will refuse that; write password: { credential: NAME } (or env, file, command) beside it',
      ],
    ],
    [
      'from: /a\nto: { url: "ftp://h.example/x", active: { ports: 50000 } }',
      [
        '2:50: warning: /to/active/ports: one port is too few for 4 connections at once, which need one each; write a longer range, or connections: 1',
      ],
    ],
    [
      'from: /a\nto: { url: "ftp://h.example/x", connections: 3, active: { ports: 50000-50001 } }',
      [
        '2:66: warning: /to/active/ports: 2 ports are too few for 3 connections at once, which need one each; write a longer range, or connections: 2',
      ],
    ],
    ['from: /a\nto: { url: "ftp://127.0.0.1:2121/x", user: u, password: { env: X } }', []],
    ['from: /a\nto: { url: "ftp://[::1]/x", user: u, password: { env: X } }', []],
    ['from: /a\nto: { url: "ftp://localhost/x", user: u, password: { env: X } }', []],
    ['from: /a\nto: ftp://h.example/x', []],
    ['from: /a\nto: ftp://anonymous@h.example/x', []],
  ])('%j', async (text, expected) => {
    const { jobs, lines } = await load({ 'a.yaml': text });
    expect(lines).toEqual(expected.map((line) => `a.yaml:${line}`));
    expect(jobs.map(({ name }) => name)).toEqual(['a']);
  });
});

describe('servers.yaml', () => {
  const TWO_JOBS = { 'a.yaml': 'from: /a\nto: good:x', 'b.yaml': 'from: /a\nto: bad:x' };

  test('a mistaken entry breaks only the jobs that use it, and they point to it', async () => {
    const { jobs, lines, problems } = await load({
      ...TWO_JOBS,
      'servers.yaml':
        'good:\n  url: ftps://g\nbad:\n  url: ftps://b/x\n  conections: 5\n9x: { url: ftp://h }\n',
    });
    expect(jobs.map(({ name }) => name)).toEqual(['a']);
    expect(lines).toEqual([
      'b.yaml:2:5: error: /to: the server "bad" has a mistake in servers.yaml:4:8; correct it there',
      'servers.yaml:4:8: error: /bad/url: the path belongs to the job: end the URL behind the host, and write bad:PATH in the job',
      'servers.yaml:5:3: error: /bad/conections: unknown key "conections"; did you mean "connections"?',
      'servers.yaml:6:1: error: /9x: a server name begins with a letter and goes on with letters, digits, - and _ (at most 100), such as nas',
    ]);
    expect(problems.map(({ job }) => job)).toEqual(['b', undefined, undefined, undefined]);
  });

  test.each<[string, string, string[]]>([
    [
      'no keys',
      'good: { url: ftps://g }\nbad: ftps://b\n',
      [
        'b.yaml:2:5: error: /to: the server "bad" has a mistake in servers.yaml:2:6; correct it there',
        'servers.yaml:2:6: error: /bad: a server is written with keys: { url: sftp://HOST, user: NAME, password: { credential: NAME } }, or with ftpes:// for FTP',
      ],
    ],
    [
      'no URL',
      'good: { url: ftps://g }\nbad: { user: x }\n',
      [
        'b.yaml:2:5: error: /to: the server "bad" has a mistake in servers.yaml:2:6; correct it there',
        'servers.yaml:2:6: error: /bad/url: "url" is missing: write the server, such as url: sftp://nas.example.net or url: ftpes://nas.example.net',
      ],
    ],
    [
      'one key twice',
      'good: { url: ftps://g }\nbad:\n  url: ftps://b\n  url: ftps://c\n',
      [
        'b.yaml:2:5: error: /to: the server "bad" has a mistake in servers.yaml:4:3; correct it there',
        'servers.yaml:4:3: error: /bad/url: the key "url" stands twice; keep one of them',
      ],
    ],
    [
      'one server twice',
      'good: { url: ftps://g }\nbad: { url: ftps://b }\nbad: { url: ftps://c }\n',
      [
        'b.yaml:2:5: error: /to: the server "bad" has a mistake in servers.yaml:3:1; correct it there',
        'servers.yaml:3:1: error: /bad: the key "bad" stands twice; keep one of them',
      ],
    ],
    [
      'a warning and an error',
      'good: { url: ftps://g }\nbad: { url: ftp://b, user: x, password: { env: X }, connections: 0 }\n',
      [
        'b.yaml:2:5: error: /to: the server "bad" has a mistake in servers.yaml:2:66; correct it there',
        'servers.yaml:2:13: warning: /bad/url: the password and the files go to b unencrypted, for everybody on the way to read; write sftp:// or ftpes:// if the server speaks SSH or TLS',
        'servers.yaml:2:66: error: /bad/connections: must be at least 1',
      ],
    ],
  ])('an entry with %s', async (_, servers, expected) => {
    const { jobs, lines } = await load({ ...TWO_JOBS, 'servers.yaml': servers });
    expect(lines).toEqual(expected);
    expect(jobs.map(({ name }) => name)).toEqual(['a']);
  });

  test.each<[string, Files, string[]]>([
    [
      'is broken',
      { 'servers.yaml': 'good: {\n' },
      [
        'a.yaml:2:5: error: /to: servers.yaml cannot be read, so its servers are unknown; correct it first',
        expect.stringMatching(/^servers\.yaml:\d:\d: error: /),
      ],
    ],
    [
      'is a list',
      { 'servers.yaml': '- good\n' },
      [
        'a.yaml:2:5: error: /to: servers.yaml cannot be read, so its servers are unknown; correct it first',
        'servers.yaml:1:1: error: must be a group of keys, but this is a list',
      ],
    ],
    [
      'is empty',
      { 'servers.yaml': '' },
      [
        'a.yaml:2:5: error: /to: no server is named "good" in servers.yaml, which is empty',
        'servers.yaml:1:1: warning: the file is empty, so there are no servers to name in jobs',
      ],
    ],
    [
      'is missing',
      {},
      [
        'a.yaml:2:5: error: /to: no server is named "good" in servers.yaml, which is missing in this directory; write one, or write ./ in front of a local path with a colon',
      ],
    ],
    [
      'is there twice',
      { 'servers.yaml': 'good: { url: ftps://g }', 'servers.yml': 'good: { url: ftps://h }' },
      [
        'a.yaml:2:5: error: /to: servers.yml cannot be read, so its servers are unknown; correct it first',
        'servers.yml:1:1: error: there is "servers.yaml" as well; ferryd reads one of them and cannot know which, so take one away',
      ],
    ],
  ])('that %s', async (_, files, expected) => {
    const { jobs, lines } = await load({
      ...files,
      'a.yaml': 'from: /a\nto: good:x',
      'c.yaml': 'from: /a\nto: ftp://h',
    });
    expect(lines).toEqual(expected);
    expect(jobs.map(({ name }) => name)).toEqual(['c']);
  });
});

test('agent.yaml: mistakes are told and the defaults hold', async () => {
  const job = { 'a.yaml': 'from: /a\nto: ftp://h' };
  const bad = await load({
    ...job,
    'agent.yaml': 'log: { level: wran }\nstop: 5s\nruns: 5\nrunsAtOnce: 1.5',
  });
  expect(bad.lines).toEqual([
    'agent.yaml:1:15: error: /log/level: must be one of error, warn, info, debug; did you mean "warn"?',
    'agent.yaml:2:7: error: /stop: must be a group of keys (within), but this is a text',
    'agent.yaml:3:1: error: /runs: unknown key "runs"; known here: log, stop, runsAtOnce, history, notify',
    'agent.yaml:4:13: error: /runsAtOnce: must be a whole number, but this is a fraction',
  ]);
  expect(bad.agent).toEqual(DEFAULTS);
  expect(bad.jobs).toHaveLength(1);
  const empty = await load({ ...job, 'agent.yaml': '# all default\n' });
  expect(empty.lines).toEqual(['agent.yaml:1:1: warning: the file is empty, so the defaults hold']);
  expect(empty.agent).toEqual(DEFAULTS);
  const twice = await load({ ...job, 'agent.yaml': 'runsAtOnce: 1\nrunsAtOnce: 2\n' });
  expect(twice.agent).toEqual(DEFAULTS);
});

describe('the directory', () => {
  const JOB = 'from: /a\nto: ftp://h';

  test('one bad file does not keep the others from loading', async () => {
    const { jobs, lines } = await load({
      'a.yaml': JOB,
      'b.yaml': '[',
      'c.YML': JOB,
      'my job.yaml': JOB,
      '.hidden.yaml': '[',
      'notes.txt': '[',
      'd.yaml.bak': '[',
      'e.yaml': Buffer.from([0x66, 0xff, 0xfe]),
      'f.yaml': `#${'x'.repeat(1024 * 1024)}`,
      'g.yaml/inside.yaml': '[',
    });
    expect(jobs.map(({ name }) => name)).toEqual(['a', 'c']);
    expect(lines).toEqual([
      expect.stringMatching(/^b\.yaml:1:\d: error: /),
      'e.yaml:1:1: error: the file is not UTF-8 text; save it as UTF-8',
      'f.yaml:1:1: error: the file is larger than 1 MiB, which no settings of ferryd are',
      'g.yaml:1:1: error: is not a regular file; take it away, or rename it',
      "my job.yaml:1:1: error: a job's name is the file's name: letters, digits, - _ and ., the first a letter or digit, at most 100; rename the file",
    ]);
  });

  test('two files of one name: neither is loaded', async () => {
    const { jobs, lines, problems } = await load({ 'a.yaml': JOB, 'a.yml': JOB, 'b.yaml': JOB });
    expect(jobs.map(({ name }) => name)).toEqual(['b']);
    expect(lines).toEqual([
      'a.yml:1:1: error: there is "a.yaml" as well; ferryd reads one of them and cannot know which, so take one away',
    ]);
    expect(problems[0]?.job).toBe('a');
  });

  test('links to files are followed, links to nothing and FIFOs are told', async () => {
    const directory = await temporaryDirectory();
    await mkdir(path.join(directory, '..data'));
    await writeFile(path.join(directory, '..data', 'a.yaml'), JOB);
    await symlink('..data/a.yaml', path.join(directory, 'a.yaml'));
    await symlink('nowhere', path.join(directory, 'b.yaml'));
    await symlink('c.yaml', path.join(directory, 'c.yaml'));
    await promisify(execFile)('mkfifo', [path.join(directory, 'd.yaml')]);
    const { jobs, lines } = await loadDirectory(directory);
    expect(jobs.map(({ name }) => name)).toEqual(['a']);
    expect(lines).toEqual([
      'b.yaml:1:1: error: the file is a link to nothing, or was taken away just now',
      'c.yaml:1:1: error: the file is a link that leads in a circle; take it away',
      'd.yaml:1:1: error: is not a regular file; take it away, or rename it',
    ]);
  });

  test('empty, missing, not a directory', async () => {
    const directory = await temporaryDirectory();
    expect((await loadDirectory(directory)).lines).toEqual([
      '.:1:1: error: there is no job here; write one such as nightly-backup.yaml, with from: /var/backups and to: ftpes://HOST/PATH',
    ]);
    expect((await loadDirectory(path.join(directory, 'x'))).lines).toEqual([
      '.:1:1: error: there is no such directory; make it and put job files in it, or name another one with --jobs or $FERRYD_JOBS',
    ]);
    await writeFile(path.join(directory, 'f'), '');
    expect((await loadDirectory(path.join(directory, 'f'))).lines).toEqual([
      '.:1:1: error: is not a directory; name the directory that holds the job files with --jobs or $FERRYD_JOBS',
    ]);
  });

  test('not readable', async () => {
    const directory = await temporaryDirectory();
    const closed = path.join(directory, 'closed');
    await mkdir(closed);
    await writeFile(path.join(directory, 'a.yaml'), JOB);
    await chmod(path.join(directory, 'a.yaml'), 0o000);
    await chmod(closed, 0o000);
    await chmod(directory, 0o755);
    // Root may read everything, so it steps down for the time of the look.
    const root = process.geteuid?.() === 0;
    if (root) process.seteuid?.(65_534);
    try {
      expect((await loadDirectory(directory)).lines).toEqual([
        'a.yaml:1:1: error: the file may not be read by the user that ferryd runs as; give it the right to (chmod, chown)',
      ]);
      expect((await loadDirectory(closed)).lines).toEqual([
        '.:1:1: error: the directory may not be read by the user that ferryd runs as; give it the right to (chmod, chown)',
      ]);
    } finally {
      if (root) process.seteuid?.(0);
      await chmod(closed, 0o700);
    }
  });

  test('a check that throws is a mistake of the expression', async () => {
    const directory = await temporaryDirectory();
    await writeFile(path.join(directory, 'a.yaml'), `${JOB}\ntriggers: [{ cron: "1 2 3 4 5" }]`);
    const { loadConfiguration } = await import('../../src/job/load.js');
    const { problems } = await loadConfiguration(directory, {
      cron: () => {
        throw new Error('no');
      },
    });
    expect(problems.map(({ message }) => message)).toEqual([
      'cannot be read as a cron expression; an example is "30 2 * * *"',
    ]);
  });
});
