import { execFileSync, spawnSync } from 'node:child_process';
import { promises as fs } from 'node:fs';
import { createServer } from 'node:net';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { IgnoreMap, IgnoreRules, readIgnoreFile } from '../../src/local/ignore.js';
import { diskOf } from '../../src/local/mounts.js';
import { walk } from '../../src/local/walk.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';
import { localError, openBelow, pathOf, sightsOf, systemError } from './support.js';

let root: TemporaryDirectory;
beforeEach(async () => {
  root = await temporaryDirectory('ignore');
});
afterEach(async () => {
  vi.restoreAllMocks();
  expect(openBelow(root.path)).toEqual([]);
  await root.remove();
});

/** Files of `.ferryignore` by their directory, as the walk would put them together for the deepest one. */
function rulesOf(files: Readonly<Record<string, string>>): IgnoreRules {
  return Object.entries(files).reduce(
    (rules, [directory, text]) => rules.with(directory, text.split('\n')),
    IgnoreRules.NONE,
  );
}

describe('one file', () => {
  it.each([
    // file, path, ignored
    ['*.tmp', 'a.tmp', true],
    ['*.tmp', 'x/y/a.tmp', true],
    ['*.tmp', 'a.TMP', false],
    ['*.tmp\n!keep.tmp', 'x/keep.tmp', false],
    ['!keep.tmp\n*.tmp', 'x/keep.tmp', true],
    ['build/', 'build', false],
    ['build/', 'x/build/', true],
    ['build/\n!build/keep', 'build/keep', true],
    ['build/*\n!build/keep', 'build/keep', false],
    ['/a', 'a', true],
    ['/a', 'x/a', false],
    ['x/a', 'x/a', true],
    ['x/a', 'y/x/a', false],
    ['**/x/a', 'y/x/a', true],
    ['x/**/a', 'x/a', true],
    ['x/**/a', 'x/1/2/a', true],
    ['x/**', 'x/', false],
    ['x/**', 'x/1/2', true],
    ['a?c', 'abc', true],
    ['a?c', 'a/c', false],
    ['[ab].txt', 'b.txt', true],
    ['[!ab].txt', 'b.txt', false],
    ['# comment', '# comment', false],
    ['\\# no comment', '# no comment', true],
    ['\\!important', '!important', true],
    ['trailing   ', 'trailing', true],
    ['trailing\\ ', 'trailing ', true],
    ['trailing\\\\ ', 'trailing\\', true],
    ['\\*', '*', true],
    ['\\*', 'a', false],
    ['', 'a', false],
    ['/', 'a', false],
    ['!', 'a', false],
    ['*\n!*/\n!*.txt', 'x/', false],
    ['*\n!*/\n!*.txt', 'x/a.txt', false],
    ['*\n!*/\n!*.txt', 'x/a.gz', true],
    ['ünïcode', 'x/ünïcode', true],
    ['a', '.../a', true],
  ])('%j: %j is left out: %s', (text, path, ignored) => {
    expect(rulesOf({ '': text }).ignores(path)).toBe(ignored);
  });
});

describe('several files', () => {
  it.each([
    // The one further down is stronger, and only about what lies beside and below it.
    [{ '': '*.log', 'x/': '!*.log' }, 'x/a.log', false],
    [{ '': '*.log', 'x/': '!*.log' }, 'a.log', true],
    [{ '': '*.log', 'x/': '!*.log', 'x/y/': 'b.log' }, 'x/y/b.log', true],
    [{ '': '*.log', 'x/': '!*.log', 'x/y/': 'b.log' }, 'x/y/a.log', false],
    [{ 'x/': '/a' }, 'x/a', true],
    [{ 'x/': '/a' }, 'x/y/a', false],
    [{ 'x/': 'a' }, 'x/y/a', true],
    [{ 'x/': 'a' }, 'a', false],
    [{ 'x/': 'y/a' }, 'x/y/a', true],
    [{ 'x/': 'y/a' }, 'x/z/y/a', false],
    [{ 'x/': 'd/' }, 'x/y/d/', true],
    [{ 'x/': '**/a' }, 'x/y/a', true],
    [{ 'x/': '\\!a' }, 'x/!a', true],
    [{ 'x/': '*' }, 'xy/a', false],
    // Taken in again further down: so is what lies in it.
    [{ '': 'x/*', 'x/': '!y' }, 'x/y/a', false],
    // Names that mean something in a pattern are taken as they are.
    [{ 'x[ab]*?\\/': 'a' }, 'x[ab]*?\\/a', true],
    [{ 'x[ab]*?\\/': 'a' }, 'xa1?/a', false],
    [{ '!x/': 'a' }, '!x/a', true],
    [{ '#x/': 'a' }, '#x/a', true],
    [{ ' x /': 'a' }, ' x /a', true],
  ])('%j: %j is left out: %s', (files, path, ignored) => {
    expect(rulesOf(files as Record<string, string>).ignores(path)).toBe(ignored);
  });

  it('rules that say nothing cost nothing', () => {
    expect(IgnoreRules.NONE.with('', ['', '# only this', '  '])).toBe(IgnoreRules.NONE);
  });
});

describe('the map of all files', () => {
  const NAMES = ['a', 'b', 'ab'];
  /** Every file and directory of a tree three deep; a directory's path ends with `/`. */
  function below(directory: string, depth: number): string[] {
    return NAMES.flatMap((name) => {
      const files = [`${directory}${name}.x`];
      if (depth === 0) return files;
      const inner = `${directory}${name}/`;
      return [...files, inner, ...below(inner, depth - 1)];
    });
  }
  const all = below('', 2);
  const directories = ['', ...all.filter((path) => path.endsWith('/'))];

  it('leaves out what the walk leaves out, and what would be if it were there', async () => {
    for (const path of all) {
      if (path.endsWith('/')) await fs.mkdir(root.join(path));
      else await fs.writeFile(root.join(path), '');
    }
    const line = fc.constantFrom(
      'a',
      'b/',
      '*.x',
      '!a.x',
      '!b/',
      '/a',
      'a/b',
      '**/ab',
      'ab/*',
      '!ab/a.x',
      '*',
      '!*/',
    );
    const files = fc.dictionary(
      fc.constantFrom(...directories),
      fc.array(line, { minLength: 1, maxLength: 3 }),
      {
        maxKeys: 4,
        noNullPrototype: true,
      },
    );
    let leftOut = 0;
    await fc.assert(
      fc.asyncProperty(files, async (rules) => {
        const map = new IgnoreMap();
        const seen = new Set<string>();
        for (const [directory, lines] of Object.entries(rules))
          await fs.writeFile(root.join(directory, '.ferryignore'), lines.join('\n'));
        const walking = walk(root.path, {
          wants: (path) => !path.endsWith('.ferryignore'),
          directories: 'told',
          onRules: (directory, of) => map.note(directory, of),
        });
        for (const sight of await sightsOf(walking)) seen.add(pathOf(sight));
        for (const directory of Object.keys(rules)) await fs.rm(root.join(directory, '.ferryignore'));
        for (const path of all) expect(map.ignores(path), path).toBe(!seen.has(path));
        leftOut += all.length - seen.size;
      }),
      { numRuns: 60 },
    );
    expect(leftOut).toBeGreaterThan(60);
  });

  it('knows nothing before it was told anything', () => {
    const map = new IgnoreMap();
    expect(map.ignores('a')).toBe(false);
    map.note('d/', rulesOf({ 'd/': 'a' }));
    expect(map.ignores('a')).toBe(false);
    expect(map.ignores('d/a')).toBe(true);
    expect(map.ignores('d/x/a/y')).toBe(true);
    expect(map.ignores('d/')).toBe(false);
  });
});

it('many rules and a large directory keep nobody else from working', async () => {
  const rules = Array.from({ length: 4_000 }, (_, index) => `*x${index}`);
  await fs.writeFile(root.join('.ferryignore'), rules.join('\n'));
  for (let i = 0; i < 600; i += 1) await fs.writeFile(root.join(`file-${i}`), '');
  let working = true;
  let turns = 0;
  const work = (): void => {
    turns += 1;
    if (working) setImmediate(work);
  };
  const walking = walk(root.path, { wants: (path) => path !== '.ferryignore' });
  const matched = vi.spyOn(IgnoreRules.prototype, 'ignores');
  matched.mockImplementationOnce((path) => {
    work();
    return rulesOf({ '': rules.join('\n') }).ignores(path);
  });
  let files = 0;
  for await (const sights of walking) {
    working = false;
    files += sights.filter(({ kind }) => kind === 'file').length;
  }
  expect(files).toBe(600);
  // Once where it was asked for, and then in the pauses between the first path and the last.
  expect(turns).toBeGreaterThan(4);
});

const git = spawnSync('git', ['--version']).status === 0;
if (!git) process.stderr.write('\n*** SKIPPED: .ferryignore beside gitignore. It needs git.\n\n');

// Only compared where it can be: the tables above say the same, and CI need not have git.
const besideGit: (name: string, tests: () => void) => void = git ? describe : () => {};
besideGit('beside git', () => {
  const name = fc.constantFrom('a', 'b', 'ab', 'a.b', '.a', 'x y', '[a]', '!a', '#b', 'a*', 'üüü');
  const part = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('a', 'b', 'ab', 'a.b', '.a', 'x y', 'üüü') },
    {
      weight: 4,
      arbitrary: fc.constantFrom(
        '*',
        '**',
        '?',
        'a*',
        '*b',
        '*.*',
        '[ab]',
        '[!a]',
        '[a-b]*',
        '\\[a\\]',
        'a\\*',
        '.*',
      ),
    },
    { weight: 1, arbitrary: fc.constantFrom('\\#b', '\\!a', '[', '***', '[[:alpha:]]', 'x\\ y') },
  );
  const line = fc
    .tuple(
      fc.constantFrom('', '', '!'),
      fc.constantFrom('', '', '/'),
      fc.array(part, { minLength: 1, maxLength: 3 }),
      fc.constantFrom('', '', '/', ' ', '\r'),
    )
    .map(([not, anchor, parts, end]) => `${not}${anchor}${parts.join('/')}${end}`);
  const file = fc.array(fc.oneof({ weight: 9, arbitrary: line }, fc.constantFrom('', '# x', '!', '/')), {
    minLength: 1,
    maxLength: 4,
  });
  interface Tree {
    readonly [name: string]: Tree | null;
  }
  const tree = fc.letrec<{ node: Tree | null; directory: Tree }>((tie) => ({
    node: fc.oneof({ depthSize: 'medium', maxDepth: 3 }, fc.constant(null), tie('directory')),
    directory: fc.dictionary(name, tie('node'), { minKeys: 1, maxKeys: 5, noNullPrototype: true }),
  })).directory;

  async function build(at: string, node: Tree, files: string[][]): Promise<void> {
    const lines = files.pop();
    if (lines !== undefined) await fs.writeFile(`${at}/.ferryignore`, lines.join('\n'));
    for (const [key, below] of Object.entries(node)) {
      if (below === null) {
        await fs.writeFile(`${at}/${key}`, '');
      } else {
        await fs.mkdir(`${at}/${key}`);
        await build(`${at}/${key}`, below, files);
      }
    }
  }

  it('the same files of any tree stay behind', async () => {
    const repository = root.join('repository');
    const environment = { PATH: process.env.PATH, HOME: root.path, GIT_CONFIG_NOSYSTEM: '1', LC_ALL: 'C' };
    execFileSync('git', ['init', '-q', '--bare', repository], { env: environment });
    let trees = 0;
    let left = 0;
    await fc.assert(
      fc.asyncProperty(tree, fc.array(file, { minLength: 1, maxLength: 6 }), async (node, files) => {
        trees += 1;
        const at = root.join(`tree-${trees}`);
        await fs.mkdir(at);
        await build(at, node, [...files]);
        const all = execFileSync(
          'git',
          [
            `--git-dir=${repository}`,
            `--work-tree=${at}`,
            '-c',
            'core.bare=false',
            'ls-files',
            '-z',
            '--others',
          ].concat('--exclude-per-directory=.ferryignore'),
          { cwd: at, env: environment, encoding: 'utf8' },
        );
        const expected = all.split('\0').filter((path) => path !== '' && !/(^|\/)\.ferryignore$/.test(path));
        const found: string[] = [];
        const wants = (path: string): boolean => !path.endsWith('.ferryignore');
        for (const sight of await sightsOf(walk(at, { wants }))) {
          if (sight.kind !== 'file') throw new Error(JSON.stringify(sight));
          found.push(sight.file.path);
        }
        expect(found.sort()).toEqual(expected.sort());
        left += expected.length;
        await fs.rm(at, { recursive: true });
      }),
      { numRuns: 120 },
    );
    expect(left).toBeGreaterThan(trees / 10);
  });
});

describe('a file that cannot be used', () => {
  const consequence =
    /So long nothing in data is looked at, because what it leaves out must not go across\.$/;
  async function refused(): Promise<string> {
    const error = await localError(readIgnoreFile(root.path, 'data'));
    expect(error.code).toBe('ignore-file');
    expect(error.message).toMatch(consequence);
    return error.message;
  }

  it('none is none', async () => {
    expect(await readIgnoreFile(root.path, '')).toBeUndefined();
  });

  it('one that vanishes while it is looked for is not taken for none', async () => {
    await fs.mkdir(root.join('data'));
    for (const path of ['data/.ferryignore', 'data/secret', 'z'])
      await fs.writeFile(root.join(path), 'secret');
    vi.spyOn(diskOf(root.path), 'open').mockRejectedValue(systemError('ENOENT'));
    expect(await sightsOf(walk(root.path, { wants: () => true }))).toMatchObject([
      {
        kind: 'unreadable',
        path: 'data/',
        code: 'ignore-file',
        message: expect.stringContaining('data/.ferryignore was taken away while it was looked for'),
      },
      { kind: 'file', file: { path: 'z' } },
    ]);
  });

  it('lines end as they do anywhere, and a mark of the byte order is no part of the first', async () => {
    await fs.writeFile(root.join('.ferryignore'), '\ufeffa\r\nb\nc');
    expect(await readIgnoreFile(root.path, '')).toEqual(['a', 'b', 'c']);
  });

  it('64 KiB are taken, one byte more is not', async () => {
    await fs.writeFile(root.join('.ferryignore'), `${'#'.repeat(65_535)}\n`);
    expect(await readIgnoreFile(root.path, 'data')).toHaveLength(2);
    await fs.appendFile(root.join('.ferryignore'), 'x');
    expect(await refused()).toContain('data/.ferryignore is larger than 64 KiB');
  });

  it('10,000 lines are taken, one more is not', async () => {
    await fs.writeFile(root.join('.ferryignore'), 'a\n'.repeat(9_999));
    expect(await readIgnoreFile(root.path, 'data')).toHaveLength(10_000);
    await fs.appendFile(root.join('.ferryignore'), '\n');
    expect(await refused()).toContain('more than 10,000 lines');
  });

  it('bytes that are no UTF-8', async () => {
    await fs.writeFile(root.join('.ferryignore'), Buffer.from('caf\xe9', 'latin1'));
    expect(await refused()).toContain('not written in UTF-8');
  });

  it('a link, a directory, a pipe, a socket', async () => {
    await fs.symlink('/etc/hostname', root.join('.ferryignore'));
    expect(await refused()).toContain('is a link, which is not followed');
    await fs.rm(root.join('.ferryignore'));
    await fs.mkdir(root.join('.ferryignore'));
    expect(await refused()).toContain('is not a regular file');
    await fs.rmdir(root.join('.ferryignore'));
    execFileSync('mkfifo', [root.join('.ferryignore')]);
    expect(await refused()).toContain('is not a regular file');
    await fs.rm(root.join('.ferryignore'));
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(root.join('.ferryignore'), resolve));
    try {
      expect(await refused()).toContain('is not a regular file');
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it.each(['EACCES', 'EIO'])('one that cannot be opened (%s)', async (code) => {
    vi.spyOn(diskOf(root.path), 'open').mockRejectedValue(systemError(code));
    expect(await refused()).toMatch(/^data\/\.ferryignore (may not be read by|cannot be read: the disk)/);
  });

  it('says that nothing at all is looked at where it is the one of the root', async () => {
    await fs.mkdir(root.join('.ferryignore'));
    const { message } = await localError(readIgnoreFile(root.path, ''));
    expect(message).toContain('So long nothing at all is looked at');
  });
});
