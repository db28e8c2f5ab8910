/*
 * What a start loads. Each package costs milliseconds of every `ferryd status`, and a small machine ten times as many;
 * what is not needed must not come back by an import somewhere.
 */
import { readFile } from 'node:fs/promises';
import { basename, dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { FERRYD } from './command.js';
import { Stage } from './stage.js';

/** The program as `tsc` leaves it, which shows what is loaded module by module. */
const APART = resolve(import.meta.dirname, '../../build/src/cli/main.js');

/** Preloaded: writes down all modules, those imported as they come, those required at the end. */
const PROBE = `
  import { appendFileSync } from 'node:fs';
  import { createRequire, register } from 'node:module';
  const hooks = \`
    import { appendFileSync } from 'node:fs';
    export async function load(url, context, next) {
      appendFileSync(process.env.PROBED, url + '\\\\n');
      return next(url, context);
    }\`;
  register('data:text/javascript,' + encodeURIComponent(hooks));
  const { cache } = createRequire(import.meta.url);
  process.on('exit', () => appendFileSync(process.env.PROBED, Object.keys(cache).join('\\n')));`;

interface Loaded {
  /** Packages by name, in order. */
  readonly packages: readonly string[];
  /** Files of ours, below `src/`; or, of what is published, beside `main.js`. */
  readonly own: readonly string[];
}

/** Runs `ferryd ARGS` from the program's file `main`, and says what it loaded. */
async function loadedBy(stage: Stage, main: string, ...args: string[]): Promise<Loaded> {
  const probed = stage.at(`probed-${basename(dirname(main))}-${args.join('-')}`);
  await stage.write('probe.mjs', PROBE);
  const program = [process.execPath, '--import', stage.at('probe.mjs'), main];
  const ended = await stage.start(args, { program, env: { PROBED: probed } }).inTime();
  expect(ended).toMatchObject({ code: 0 });
  const lines = (await readFile(probed, 'utf8')).split('\n');
  const files = lines.map((line) => (line.startsWith('file:') ? fileURLToPath(line) : line));
  const packages = files.flatMap((file) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []);
  const at = main === APART ? dirname(dirname(main)) : dirname(main);
  const own = files.filter((file) => file.startsWith(`${at}/`)).map((file) => relative(at, file));
  expect(files.filter((file) => file.includes(COMPILER))).toEqual([]);
  return { packages: [...new Set(packages)].sort(), own: [...new Set(own)].sort() };
}

/** ajv's is one function, with which the compiled schemas count characters. */
const EVERY_START = [
  'ajv',
  'better-sqlite3',
  'bindings',
  'commander',
  'file-uri-to-path',
  'leven',
  'node-cron',
  'yaml',
];

const COMPILER = '/ajv/dist/compile/';

/** The engines; their errors and charsets are known without them. */
const ENGINE = /^(ftp\/(?!errors|charset)|sftp\/(?!errors))/;

test('status and a run without news load no engine, and no package that they can do without', async () => {
  await using stage = await Stage.open();
  await stage.write('source/a.txt', 'a');
  const triggers = [{ cron: '30 2 * * *' }, { watch: {} }];
  {
    await using server = await stage.server();
    await stage.writeNas(server);
    await stage.writePush('nightly', { triggers });
    const first = await loadedBy(stage, APART, 'run', 'nightly');
    // What the probe sees where there is something to see.
    expect(first.own.filter((module) => ENGINE.test(module))).not.toEqual([]);
  }
  const status = await loadedBy(stage, APART, 'status');
  expect(status.packages).toEqual(EVERY_START);
  expect(status.own.filter((module) => ENGINE.test(module))).toEqual([]);
  expect(status.own.length).toBeLessThan(80);

  const unchanged = await loadedBy(stage, APART, '--json', 'run', 'nightly');
  expect(unchanged.packages).toEqual([...EVERY_START, 'picomatch'].sort());
  expect(unchanged.own.filter((module) => ENGINE.test(module))).toEqual([]);
  expect(unchanged.own.length).toBeLessThan(200);

  const published = await loadedBy(stage, FERRYD, '--json', 'run', 'nightly');
  expect(published.packages).toEqual(unchanged.packages);
  expect(published.own.length).toBeLessThan(30);
});
