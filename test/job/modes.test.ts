/*
 * The keys that say how two sides relate: what they become, what is said of mistakes, and which of them contradict
 * each other. Each sentence as a person sees it.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Job } from '../../src/job/job.js';
import { readJob } from '../../src/job/read-job.js';
import { parseTemplate } from '../../src/job/template.js';
import { type Files, load } from './directory.js';

const SERVERS = 'x:\n  url: ftpes://nas.example.net\n  user: backup\n  password: { env: NAS }\n';
const PUSH = 'from: /a\nto: x:in';
const PULL = 'from: x:out\nto: /a';

/** Keys begin in the third line. */
async function read(
  keys: string,
  ends = PUSH,
  more: Files = {},
): Promise<{ job: Job | undefined; lines: readonly string[] }> {
  const { jobs, lines } = await load({ 'servers.yaml': SERVERS, 'a.yaml': `${ends}\n${keys}\n`, ...more });
  return { job: jobs[0], lines };
}

describe('what is right', () => {
  test.each<[string, Partial<Job>]>([
    ['', { mode: 'copy', compare: 'ledger', conflicts: 'keep-both', marker: undefined }],
    ['', { emptyDirectories: 'skip', names: 'skip', timezone: undefined }],
    ['mode: copy', { mode: 'copy' }],
    ['mode: mirror', { mode: 'mirror' }],
    ['mode: move', { mode: 'move' }],
    ['mode: two-way', { mode: 'two-way' }],
    ['compare: ledger', { compare: 'ledger' }],
    ['compare: remote', { compare: 'remote' }],
    ['mode: two-way\ncompare: checksum', { compare: 'checksum' }],
    ['mode: two-way\nconflicts: newer', { conflicts: 'newer' }],
    ['mode: two-way\nconflicts: from', { conflicts: 'from' }],
    ['mode: two-way\nconflicts: to', { conflicts: 'to' }],
    ['mode: two-way\nconflicts: keep-both', { conflicts: 'keep-both' }],
    ['marker: .mounted', { marker: '.mounted' }],
    ['marker: disk one/.there', { marker: 'disk one/.there' }],
    ['marker: ..mounted', { marker: '..mounted' }],
    ['emptyDirectories: keep', { emptyDirectories: 'keep' }],
    ['emptyDirectories: skip', { emptyDirectories: 'skip' }],
    ['names: encode', { names: 'encode' }],
    ['names: skip', { names: 'skip' }],
    ['mode: two-way\ninclude: ["*.md"]\nexclude: ["*.x"]\nsize: { max: 1G }', { include: ['*.md'] }],
    ['mode: mirror\nlinks: follow', { links: 'follow' }],
    ['mode: move\nready: "{name}.done"', { ready: { before: '', part: 'name', behind: '.done' } }],
    ['mode: two-way\npermissions: keep\nhidden: skip', { permissions: 'keep', hidden: 'skip' }],
  ])('%j', async (keys, expected) => {
    for (const ends of keys.includes('links') || keys.includes('ready') ? [PUSH] : [PUSH, PULL]) {
      const { job, lines } = await read(keys, ends);
      expect(lines).toEqual([]);
      expect(job).toMatchObject(expected);
    }
  });

  const DEFAULTS = { keepMs: 2_592_000_000, extraneous: false, limit: { percent: 10, files: 100 } };
  test.each<[string, Job['deletes']]>([
    ['mode: copy', { ...DEFAULTS, policy: 'delete' }],
    ['mode: mirror', { ...DEFAULTS, policy: 'trash' }],
    ['mode: move', { ...DEFAULTS, policy: 'trash' }],
    ['mode: two-way', { ...DEFAULTS, policy: 'trash' }],
    ['mode: mirror\ndeletes: {}', { ...DEFAULTS, policy: 'trash' }],
    ['deletes: { policy: trash, keep: 1d }', { ...DEFAULTS, policy: 'trash', keepMs: 86_400_000 }],
    ['mode: mirror\ndeletes: { policy: delete }', { ...DEFAULTS, policy: 'delete' }],
    ['mode: move\ndeletes: { keep: 3650d }', { ...DEFAULTS, policy: 'trash', keepMs: 315_360_000_000 }],
    ['mode: mirror\ndeletes: { extraneous: true }', { ...DEFAULTS, policy: 'trash', extraneous: true }],
    ['deletes: { extraneous: false }', { ...DEFAULTS, policy: 'delete' }],
    ['deletes: { limit: {} }', { ...DEFAULTS, policy: 'delete' }],
    [
      'deletes: { limit: { percent: 0.5 } }',
      { ...DEFAULTS, policy: 'delete', limit: { percent: 0.5, files: 100 } },
    ],
    [
      'deletes: { limit: { percent: 0, files: 0 } }',
      { ...DEFAULTS, policy: 'delete', limit: { percent: 0, files: 0 } },
    ],
    [
      'deletes: { limit: { percent: 100, files: 1000000000 } }',
      { ...DEFAULTS, policy: 'delete', limit: { percent: 100, files: 1_000_000_000 } },
    ],
  ])('deletes of %j', async (keys, expected) => {
    const { job, lines } = await read(keys);
    expect(lines).toEqual([]);
    expect(job?.deletes).toEqual(expected);
  });

  test.each<[string, string, object]>([
    ['from: /a\nto: x:in/{host}/{job}', '', { remotePath: { path: 'in/{host}/{job}', absolute: false } }],
    [
      'from: /a\nto: x:/in/{date:yyyy-MM-dd}',
      'timezone: Europe/Berlin',
      { remotePath: { path: '/in/{date:yyyy-MM-dd}', absolute: true }, timezone: 'Europe/Berlin' },
    ],
    ['from: /a\nto: x:{date}', 'mode: mirror', { remotePath: { path: '{date}' } }],
    [
      'from: /a\nto: x:in/{mtime:yyyy/MM}',
      'mode: move\ntimezone: UTC',
      { remotePath: { path: 'in/{mtime:yyyy/MM}' }, timezone: 'UTC' },
    ],
    ['from: x:out\nto: /a/{mtime}', 'compare: ledger', { local: '/a/{mtime}' }],
    ['from: x:out\nto: ./a{date:yyyy}', '', { local: expect.stringMatching(/^\/.*\/a\{date:yyyy\}$/) }],
    [
      'from: /a\nto: { server: x, path: "in/{host}" }',
      'mode: two-way',
      { remotePath: { path: 'in/{host}' } },
    ],
    ['from: /a/{host}\nto: x:in', 'mode: two-way', { local: '/a/{host}' }],
    [
      'from: x:in/{job}\nto: /a/{host}',
      'mode: two-way',
      { local: '/a/{host}', remotePath: { path: 'in/{job}' } },
    ],
    ['from: /a\nto: ftps://h/x/{date}', '', { remotePath: { path: 'x/{date}' } }],
    ['from: /a\nto: { url: "ftps://h", path: "{host}" }', '', { remotePath: { path: '{host}' } }],
    // A source takes its braces as they stand, and so does what a target counts from where there are none.
    ['from: /a/{x}\nto: x:in', '', { local: '/a/{x}' }],
    ['from: x:out/{dates}/}\nto: /a', 'mode: move', { remotePath: { path: 'out/{dates}/}' } }],
  ])('%j %j', async (ends, keys, expected) => {
    const { job, lines } = await read(keys, ends);
    expect(lines).toEqual([]);
    expect(job).toMatchObject(expected);
  });

  test('in mode two-way the local side is watched, whichever of the two it is', async () => {
    for (const ends of [PUSH, PULL]) {
      const { job, lines } = await read('mode: two-way\ntriggers: [{ watch: {} }]', ends);
      expect(lines).toEqual([]);
      expect(job?.triggers).toMatchObject([{ kind: 'watch' }]);
    }
  });
});

/** What template.ts says of a path; how it says that is its own business. */
function problemOf(path: string): string {
  const template = parseTemplate(path);
  return 'problem' in template ? template.problem : 'there is no problem';
}

describe('what is wrong', () => {
  test.each<[string, readonly string[]]>([
    [
      'mode: mirrow',
      ['3:7: error: /mode: must be one of copy, mirror, move, two-way; did you mean "mirror"?'],
    ],
    ['mode: zzz', ['3:7: error: /mode: must be one of copy, mirror, move, two-way']],
    [
      'mode: bisync',
      ['3:7: error: /mode: must be one of copy, mirror, move, two-way; did you mean "two-way"?'],
    ],
    [
      'mode: Two_Way',
      ['3:7: error: /mode: must be one of copy, mirror, move, two-way; did you mean "two-way"?'],
    ],
    [
      'mode: clone',
      ['3:7: error: /mode: must be one of copy, mirror, move, two-way; did you mean "mirror"?'],
    ],
    [
      'mode: sync',
      [
        '3:7: error: /mode: sync is one way to some and both ways to others; write mirror for one way, two-way for both, or copy where nothing may be deleted',
      ],
    ],
    ['mode: true', ['3:7: error: /mode: must be one of copy, mirror, move, two-way']],
    ['sync: mirror', ['3:1: error: /sync: unknown key "sync"; did you mean "mode"?']],
    [
      'compare: hash',
      ['3:10: error: /compare: must be one of ledger, remote, checksum; did you mean "checksum"?'],
    ],
    ['checksum: true', ['3:1: error: /checksum: unknown key "checksum"; did you mean "compare"?']],
    [
      'mode: two-way\nconflicts: latest',
      ['4:12: error: /conflicts: must be one of newer, from, to, keep-both; did you mean "newer"?'],
    ],
    [
      'mode: two-way\nconflicts: keepboth',
      ['4:12: error: /conflicts: must be one of newer, from, to, keep-both; did you mean "keep-both"?'],
    ],
    ['conflict: newer', ['3:1: error: /conflict: unknown key "conflict"; did you mean "conflicts"?']],
    [
      'emptyDirectories: true',
      ['3:19: error: /emptyDirectories: must be one of keep, skip; did you mean "keep"?'],
    ],
    [
      'emptyFolders: keep',
      ['3:1: error: /emptyFolders: unknown key "emptyFolders"; did you mean "emptyDirectories"?'],
    ],
    ['names: escape', ['3:8: error: /names: must be one of skip, encode; did you mean "encode"?']],
    [
      'timezone: Europe/Berln',
      [
        '3:11: error: /timezone: is no time zone that this machine knows; write an IANA name such as Europe/Berlin; did you mean "Europe/Berlin"?',
      ],
    ],
    ['tz: UTC', ['3:1: error: /tz: unknown key "tz"; did you mean "timezone"?']],
    ['deletes: trash', ['3:10: error: /deletes: deletes has keys: write deletes: { policy: trash }']],
    [
      'deletes: true',
      [
        '3:10: error: /deletes: must be a group of keys (policy, keep, extraneous, limit), but this is true or false',
      ],
    ],
    ['deletes:', ['3:1: error: /deletes: has no value; write {} for the defaults, or take the key away']],
    ['delete: {}', ['3:1: error: /delete: unknown key "delete"; did you mean "deletes"?']],
    [
      'deletes: { policy: recycle }',
      ['3:20: error: /deletes/policy: must be one of trash, delete; did you mean "trash"?'],
    ],
    [
      'deletes: { policy: never }',
      [
        '3:20: error: /deletes/policy: a job that deletes nothing is written mode: copy; here stands trash or delete',
      ],
    ],
    ['mode: mirror\ndeletes: { keep: 23h }', ['4:18: error: /deletes/keep: must be at least 1d']],
    ['mode: mirror\ndeletes: { keep: 3651d }', ['4:18: error: /deletes/keep: a duration is at most 3650d']],
    [
      'mode: mirror\ndeletes: { keep: 30 }',
      ['4:18: error: /deletes/keep: a duration needs a unit: write 30s, 30m or 30h'],
    ],
    [
      'mode: mirror\ndeletes: { retention: 30d }',
      ['4:12: error: /deletes/retention: unknown key "retention"; did you mean "keep"?'],
    ],
    [
      'mode: mirror\ndeletes: { extraneous: yes }',
      ['4:24: error: /deletes/extraneous: must be true or false without quotes, but this is a text'],
    ],
    [
      'deletes: { limit: 10% }',
      ['3:19: error: /deletes/limit: limit has keys: write limit: { percent: 10, files: 100 }'],
    ],
    [
      'deletes: { limit: 50 }',
      ['3:19: error: /deletes/limit: must be a group of keys (percent, files), but this is a number'],
    ],
    [
      'deletes: { limit: { percent: 10%, files: 1.5 } }',
      [
        '3:30: error: /deletes/limit/percent: percent is a number without its sign and without quotes, such as 10',
        '3:42: error: /deletes/limit/files: must be a whole number, but this is a fraction',
      ],
    ],
    [
      'deletes: { limit: { percent: 101, files: -1 } }',
      [
        '3:30: error: /deletes/limit/percent: must be at most 100',
        '3:42: error: /deletes/limit/files: must be at least 0',
      ],
    ],
    [
      'deletes: { limit: { percent: -0.1, files: .inf } }',
      [
        '3:30: error: /deletes/limit/percent: must be at least 0',
        '3:43: error: /deletes/limit/files: must be a whole number that can be counted to',
      ],
    ],
    [
      'deletes: { limit: { percent: .nan, max: 5 } }',
      [
        '3:30: error: /deletes/limit/percent: must be a number that can be counted to',
        '3:36: error: /deletes/limit/max: unknown key "max"; known here: percent, files',
      ],
    ],
    [
      'links: preserve',
      [
        '3:8: error: /links: FTP has no command that makes a link, so links cannot be preserved; write links: skip, links: follow to send what they lead to, or sftp:// in the URL if the server speaks SFTP',
      ],
    ],
  ])('%j', async (keys, expected) => {
    const { job, lines } = await read(keys);
    expect(lines).toEqual(expected.map((line) => `a.yaml:${line}`));
    expect(job).toBeUndefined();
  });

  const BETWEEN =
    'the marker is a file; write names with one / between them, such as .mounted or disk/.mounted';
  const INSIDE =
    'the marker is a file of the directory itself; write its path from there on, such as .mounted';
  test.each<[string, string]>([
    ['""', 'must not be empty; write a text, or take the key away'],
    ['true', 'must be a text, but this is true or false; put it in quotes'],
    ['/mnt/disk/.mounted', INSIDE],
    ['~/.mounted', INSIDE],
    ['../.mounted', 'the marker lies below its directory; ".." leads out of it'],
    ['a/../../b', 'the marker lies below its directory; ".." leads out of it'],
    ['..', 'the marker lies below its directory; ".." leads out of it'],
    ['./.mounted', BETWEEN],
    ['a//b', BETWEEN],
    ['disk/', BETWEEN],
    ['"."', BETWEEN],
    ['"a\\nb"', 'a path must not hold a line break or a NUL'],
    ['"a\\0b"', 'a path must not hold a line break or a NUL'],
    [`"${'x'.repeat(1_001)}"`, 'the path of a marker has at most 1000 characters'],
    ['.ferryd-trash/x', 'what lies in the trash is not looked at; name a file outside of .ferryd-trash'],
    [
      '"{name}.done"',
      'is one file for the whole job; a marker beside each file is written ready: "{name}.done"',
    ],
  ])('marker: %s', async (text, message) => {
    const { job, lines } = await read(`marker: ${text}`);
    expect(lines).toEqual([`a.yaml:3:9: error: /marker: ${message}`]);
    expect(job).toBeUndefined();
  });
});

describe('what contradicts itself', () => {
  const CONFLICTS =
    'conflicts come up only where both sides may change; take the key away, or write mode: two-way';
  const READY = 'ready holds back what goes one way, and in mode two-way files go both ways; take it away';
  const MTIME = (mode: string): string =>
    `{mtime} gives a changed file another place, which mode ${mode} cannot follow; take it away, or write mode: copy or mode: move`;
  const COMPARED =
    '{mtime} gives a changed file another place, and only the ledger knows where it went; take it away, or write compare: ledger';
  const DATE =
    '{date} makes another directory each day, and mode two-way keeps the same two alike; take it away, or write mode: copy';

  test.each<[string, string, readonly string[]]>([
    [PUSH, 'conflicts: newer', [`3:12: error: /conflicts: ${CONFLICTS}`]],
    [PULL, 'mode: mirror\nconflicts: keep-both', [`4:12: error: /conflicts: ${CONFLICTS}`]],
    [PUSH, 'mode: move\nconflicts: from', [`4:12: error: /conflicts: ${CONFLICTS}`]],
    [
      PUSH,
      'deletes: { extraneous: true }',
      [
        '3:24: error: /deletes/extraneous: mode copy deletes only what ferryd put there; take the key away, or write mode: mirror',
      ],
    ],
    [
      PULL,
      'mode: two-way\ndeletes: { extraneous: true }',
      [
        '4:24: error: /deletes/extraneous: mode two-way deletes only what ferryd put there; take the key away, or write mode: mirror',
      ],
    ],
    [
      PUSH,
      'mode: move\nlinks: follow',
      [
        '4:8: error: /links: mode move removes what it has delivered, and what a link leads to may be needed elsewhere; write links: skip',
      ],
    ],
    [
      PUSH,
      'mode: two-way\nlinks: follow',
      [
        '4:8: error: /links: links are not followed in mode two-way, for a change from the other side would have to be written through them; write links: skip',
      ],
    ],
    [
      PULL,
      'mode: move\nlinks: follow',
      [
        '4:8: error: /links: links are followed only in a local from; on a server they stay behind, so take links away',
      ],
    ],
    [PUSH, 'mode: two-way\nready: "{name}.done"', [`4:8: error: /ready: ${READY}`]],
    [PULL, 'mode: two-way\nready: "{name}.done"', [`4:8: error: /ready: ${READY}`]],
    [
      PULL,
      'mode: move\ntriggers: [{ watch: {} }]',
      [
        '4:12: error: /triggers/0: watch sees only a local from; use cron to look at a server from time to time',
      ],
    ],
    ['from: /a\nto: x:{mtime}', 'mode: mirror', [`2:5: error: /to: ${MTIME('mirror')}`]],
    ['from: /a\nto: x:{mtime}', 'mode: two-way', [`2:5: error: /to: ${MTIME('two-way')}`]],
    ['from: x:in/{mtime}\nto: /a', 'mode: two-way', [`1:7: error: /from: ${MTIME('two-way')}`]],
    ['from: /a\nto: x:{mtime}', 'compare: remote', [`2:5: error: /to: ${COMPARED}`]],
    ['from: x:in\nto: /a/{mtime}', 'mode: move\ncompare: checksum', [`2:5: error: /to: ${COMPARED}`]],
    [
      'from: /a\nto: x:{mtime}',
      'emptyDirectories: keep',
      [
        '2:5: error: /to: {mtime} finds a place for files by their times, and has none for an empty directory; take it away, or write emptyDirectories: skip',
      ],
    ],
    ['from: /a\nto: x:in/{date}', 'mode: two-way', [`2:5: error: /to: ${DATE}`]],
    ['from: /a/{date:yyyy}\nto: x:in', 'mode: two-way', [`1:7: error: /from: ${DATE}`]],
    ['from: /a\nto: { server: x, path: "in/{date}" }', 'mode: two-way', [`2:24: error: /to/path: ${DATE}`]],
    [
      'from: /a\nto: { url: "ftps://h", path: "{date}" }',
      'mode: two-way',
      [`2:30: error: /to/path: ${DATE}`],
    ],
    ['from: /a\nto: { url: "ftps://h/{date}" }', 'mode: two-way', [`2:12: error: /to/url: ${DATE}`]],
    ['from: /a\nto: ftps://h/{date}', 'mode: two-way', [`2:5: error: /to: ${DATE}`]],
    [
      'from: /a/{host}\nto: x:in',
      '',
      ['1:7: error: /from: only a target holds {host}; write out the directory that the files come from'],
    ],
    [
      'from: x:out/{date:yy}\nto: /a',
      'mode: mirror',
      ['1:7: error: /from: only a target holds {date:yy}; write out the directory that the files come from'],
    ],
    ['from: /a\nto: x:in/{foo}', '', [`2:5: error: /to: ${problemOf('in/{foo}')}`]],
    ['from: /a/{foo}\nto: x:in', 'mode: two-way', [`1:7: error: /from: ${problemOf('/a/{foo}')}`]],
    ['from: x:out\nto: /a/{hots}', '', [`2:5: error: /to: ${problemOf('/a/{hots}')}`]],
    ['from: /a\nto: x:in/{date:YYYY}', '', [`2:5: error: /to: ${problemOf('in/{date:YYYY}')}`]],
    ['from: /a\nto: x:in/{date', '', [`2:5: error: /to: ${problemOf('in/{date')}`]],
    ['from: x:out\nto: a/{date}/../b', '', [`2:5: error: /to: ${problemOf('a/{date}/../b')}`]],
    // Several at once are told at once.
    [
      'from: /a/{job}\nto: x:{mtime}/{date}',
      'mode: two-way\nlinks: follow\nready: "{name}.done"\ndeletes: { extraneous: true }\nmarker: /x',
      [
        `2:5: error: /to: ${DATE}`,
        `2:5: error: /to: ${MTIME('two-way')}`,
        '4:8: error: /links: links are not followed in mode two-way, for a change from the other side would have to be written through them; write links: skip',
        `5:8: error: /ready: ${READY}`,
        '6:24: error: /deletes/extraneous: mode two-way deletes only what ferryd put there; take the key away, or write mode: mirror',
        '7:9: error: /marker: the marker is a file of the directory itself; write its path from there on, such as .mounted',
      ],
    ],
  ])('%j %j', async (ends, keys, expected) => {
    const { job, lines } = await read(keys, ends);
    expect(lines).toEqual(expected.map((line) => `a.yaml:${line}`));
    expect(job).toBeUndefined();
  });

  test.each<[string, string, number]>([
    // Nobody knows what was meant, so nothing is said about what goes with it.
    ['from: x:in\nto: /a/{mtime}/{date}', 'mode: two-wya\nconflicts: newer\ntriggers: [{ watch: {} }]', 1],
    ['from: /a/{date}\nto: x:in', 'type: two-way\nconflicts: newer\nlinks: follow\nready: "{name}.done"', 1],
    ['from: /a\nto: x:{mtime}', 'compare: leger', 1],
    ['from: /a\nto: x:in', 'deletes: { policy: trahs, keep: 5d, extraneous: true }\nmode: miror', 2],
    ['from: /a\nto: x:in', 'deletes: { policy: trahs, keep: 5d }', 1],
  ])('beside a mistake nothing is made up: %j %j', async (ends, keys, count) => {
    const { job, lines } = await read(keys, ends);
    expect(lines).toHaveLength(count);
    expect(job).toBeUndefined();
  });

  test.each<[string, string, readonly string[]]>([
    [
      PUSH,
      'deletes: { keep: 5d }',
      [
        '3:18: warning: /deletes/keep: keep is for the trash, and nothing goes there in mode copy where it is not asked for; write policy: trash beside it, or take keep away',
      ],
    ],
    [
      PULL,
      'mode: mirror\ndeletes: { policy: delete, keep: 5d }',
      [
        '4:34: warning: /deletes/keep: keep is for the trash, and nothing goes there with policy: delete; write policy: trash beside it, or take keep away',
      ],
    ],
    [
      'from: /a\nto: x:in/{host}',
      'timezone: UTC\ntriggers: [{ cron: "0 2 * * *" }]',
      [
        '3:11: warning: /timezone: timezone is for {date} and {mtime} in the target, and there is neither; the time zone of a schedule stands beside its cron',
      ],
    ],
  ])('a key without an effect is warned of: %j %j', async (ends, keys, expected) => {
    const { job, lines } = await read(keys, ends);
    expect(lines).toEqual(expected.map((line) => `a.yaml:${line}`));
    expect(job).toBeDefined();
  });
});

test('a directory with braces in its name is no place for a target, and may well be a source', () => {
  const at = (directory: string, ends: { from: string; to: string }) =>
    readJob(ends, {
      name: 'a',
      file: `${directory}/a.yaml`,
      directory,
      findServer: () => ({ kind: 'unknown', message: 'no', suggestion: undefined }),
      checkCron: () => undefined,
    });
  const server = 'ftps://h/x';
  for (const name of ['{x}', '{date}', 'a}b']) {
    for (const to of ['in', 'in/{date}']) {
      const { job, mistakes } = at(`/srv/${name}`, { from: server, to });
      expect(job).toBeUndefined();
      expect(mistakes).toEqual([
        {
          severity: 'error',
          pointer: '/to',
          at: 'value',
          message:
            'counts from a directory with braces in its name, which have a meaning in a target; write a path from / without them',
        },
      ]);
    }
    expect(at(`/srv/${name}`, { from: 'out', to: server })).toMatchObject({
      job: { local: `/srv/${name}/out` },
      mistakes: [],
    });
    expect(at(`/srv/${name}`, { from: server, to: '/in/{date}' }).job?.local).toBe('/in/{date}');
  }
});

test('of all combinations of keys, exactly those that make sense are loaded', () => {
  const combination = fc.record({
    mode: fc.constantFrom('copy', 'mirror', 'move', 'two-way'),
    direction: fc.constantFrom('push', 'pull'),
    compare: fc.constantFrom(undefined, 'ledger', 'remote', 'checksum'),
    conflicts: fc.option(fc.constantFrom('newer', 'from', 'to', 'keep-both'), { nil: undefined }),
    extraneous: fc.constantFrom(undefined, true, false),
    links: fc.constantFrom(undefined, 'skip', 'follow'),
    ready: fc.constantFrom(undefined, '{name}.done'),
    emptyDirectories: fc.constantFrom(undefined, 'keep', 'skip'),
    watched: fc.constantFrom('watched', 'unwatched'),
    from: fc.constantFrom('', '{host}', '{job}', '{date}', '{mtime}', '{foo}'),
    to: fc.constantFrom('', '{host}', '{job}', '{date:yyyy}', '{mtime:yyyy/MM}', '{foo}'),
  });
  /** Told by cases, as the reference tells it; read-job.ts tells it by keys. */
  const makesSense = (keys: typeof combination extends fc.Arbitrary<infer Keys> ? Keys : never): boolean => {
    const { mode, direction, compare, from, to } = keys;
    const steady = ['', '{host}', '{job}'];
    if (to === '{foo}' || (keys.extraneous === true && mode !== 'mirror')) return false;
    if (mode === 'two-way') {
      const oneWay = keys.ready !== undefined || keys.links === 'follow';
      return steady.includes(from) && steady.includes(to) && !oneWay;
    }
    if (keys.conflicts !== undefined || !['', '{foo}'].includes(from)) return false;
    if (direction === 'pull' && (keys.ready !== undefined || keys.watched === 'watched')) return false;
    if (keys.links === 'follow' && (mode === 'move' || direction === 'pull')) return false;
    if (!to.startsWith('{mtime')) return true;
    return mode !== 'mirror' && (compare ?? 'ledger') === 'ledger' && keys.emptyDirectories !== 'keep';
  };
  fc.assert(
    fc.property(combination, (keys) => {
      const { direction, from, to, extraneous, watched, ...plain } = keys;
      const written = {
        from: direction === 'push' ? `/a/${from}` : `ftps://h/a/${from}`,
        to: direction === 'push' ? `ftps://h/b/${to}` : `/b/${to}`,
        ...(extraneous === undefined ? {} : { deletes: { extraneous } }),
        ...(watched === 'watched' ? { triggers: [{ watch: {} }] } : {}),
        ...Object.fromEntries(Object.entries(plain).filter(([, value]) => value !== undefined)),
      };
      const { job, mistakes } = readJob(written, {
        name: 'a',
        file: '/jobs/a.yaml',
        directory: '/jobs',
        findServer: () => ({ kind: 'unknown', message: 'no', suggestion: undefined }),
        checkCron: () => undefined,
      });
      expect(job !== undefined).toBe(makesSense(keys));
      expect(mistakes.length > 0).toBe(!makesSense(keys));
      if (job === undefined) return;
      expect(job.mode).toBe(keys.mode);
      expect(job.direction).toBe(direction);
      expect(job.conflicts).toBe(keys.conflicts ?? 'keep-both');
      expect(job.deletes.extraneous).toBe(extraneous ?? false);
    }),
    { numRuns: 3_000 },
  );
});
