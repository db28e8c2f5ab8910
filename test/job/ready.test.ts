/* The keys `ready` and `permissions` of a job: what they become, and what is said of mistakes. */
import { describe, expect, test } from 'vitest';
import type { Job } from '../../src/job/job.js';
import { load } from './directory.js';

const SERVERS = 'x:\n  url: ftpes://nas.example.net\n  user: backup\n  password: { env: NAS }\n';

async function read(
  keys: string,
  ends = 'from: /a\nto: x:in',
): Promise<{ job: Job | undefined; lines: readonly string[] }> {
  const { jobs, lines } = await load({ 'servers.yaml': SERVERS, 'a.yaml': `${ends}\n${keys}\n` });
  return { job: jobs[0], lines };
}

describe('ready', () => {
  test.each([
    ['"{name}.done"', { before: '', part: 'name', behind: '.done' }],
    ['"{stem}.ok"', { before: '', part: 'stem', behind: '.ok' }],
    ['".ready-{name}"', { before: '.ready-', part: 'name', behind: '' }],
    ["'a {stem} b'", { before: 'a ', part: 'stem', behind: ' b' }],
  ])('%s', async (text, expected) => {
    const { job, lines } = await read(`ready: ${text}`);
    expect(lines).toEqual([]);
    expect(job?.ready).toEqual(expected);
  });

  test('nothing waits where nothing is written', async () => {
    const { job } = await read('');
    expect(job?.ready).toBeUndefined();
  });

  test.each([
    [
      '"done"',
      'must hold {name} or {stem}, so that each file has a marker of its own, such as "{name}.done"',
    ],
    ['""', 'must not be empty; write a text, or take the key away'],
    ['true', 'must be a text, but this is true or false; put it in quotes'],
    [
      '"{name}"',
      'a marker needs a name other than its file\'s; write more beside {name}, such as "{name}.done"',
    ],
    [
      '"{stem}"',
      'a marker needs a name other than its file\'s; write more beside {stem}, such as "{stem}.done"',
    ],
    ['"{nmae}.done"', "knows only {name}, the file's name, and {stem}, the name without its last ending"],
    ['"{}.done"', "knows only {name}, the file's name, and {stem}, the name without its last ending"],
    ['"{stem}-{name}.done"', 'must hold {name} or {stem} once, and nothing else in { and }'],
    ['"{name}.{date}"', 'must hold {name} or {stem} once, and nothing else in { and }'],
    [
      '"done/{name}"',
      'a marker stands beside its file: its name has no slash and no line break, such as "{name}.done"',
    ],
    [
      '"{name}\\ndone"',
      'a marker stands beside its file: its name has no slash and no line break, such as "{name}.done"',
    ],
  ])('%s is a mistake', async (text, message) => {
    const { job, lines } = await read(`ready: ${text}`);
    expect(job).toBeUndefined();
    expect(lines).toEqual([`a.yaml:3:8: error: /ready: ${message}`]);
  });

  test('an over-long name is a mistake', async () => {
    const { lines } = await read(`ready: "{name}${'x'.repeat(200)}"`);
    expect(lines).toEqual(['a.yaml:3:8: error: /ready: must have at most 200 characters']);
  });

  test('without quotes it is another thing in YAML, and that is said', async () => {
    const { lines } = await read('ready: {name}.done');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^a\.yaml:3:\d+: error: .*put the whole text in quotes/);
  });

  test('a pull has no markers', async () => {
    const { lines } = await read('ready: "{name}.done"', 'from: x:out\nto: /a');
    expect(lines).toEqual([
      'a.yaml:3:8: error: /ready: ready looks for markers in a local from only; take it away, and let exclude leave markers behind',
    ]);
  });

  test('what other programs call it is understood', async () => {
    const { lines } = await read('donefile: "{name}.done"');
    expect(lines).toEqual(['a.yaml:3:1: error: /donefile: unknown key "donefile"; did you mean "ready"?']);
  });
});

describe('permissions', () => {
  test.each([
    ['', 'leave'],
    ['permissions: leave', 'leave'],
    ['permissions: keep', 'keep'],
  ])('"%s" is %s', async (text, expected) => {
    const { job, lines } = await read(text);
    expect(lines).toEqual([]);
    expect(job?.permissions).toBe(expected);
  });

  test('in a pull too', async () => {
    const { job, lines } = await read('permissions: keep', 'from: x:out\nto: /a');
    expect(lines).toEqual([]);
    expect(job?.permissions).toBe('keep');
  });

  test.each([
    ['kepp', 'must be one of keep, leave; did you mean "keep"?'],
    ['0644', 'must be one of keep, leave'],
  ])('%s is a mistake', async (text, message) => {
    const { job, lines } = await read(`permissions: ${text}`);
    expect(job).toBeUndefined();
    expect(lines).toEqual([`a.yaml:3:14: error: /permissions: ${message}`]);
  });

  test('what other programs call it is understood', async () => {
    const { lines } = await read('chmod: keep');
    expect(lines).toEqual(['a.yaml:3:1: error: /chmod: unknown key "chmod"; did you mean "permissions"?']);
  });
});
