/* Whatever the files hold, loading gives jobs or problems, and never throws. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readDocument } from '../../src/job/document.js';
import { formatProblem } from '../../src/job/problem.js';
import { readJob } from '../../src/job/read-job.js';
import { checkShape } from '../../src/job/shape.js';
import { loadDirectory, temporaryDirectory } from './directory.js';

const JOB = `description: x
from: /var/backups/db
to: { url: "ftpes://nas.example.net/x", user: j, password: { env: NAS }, tls: { ca: x.pem } }
mode: mirror
compare: remote
deletes: { policy: trash, keep: 30d, extraneous: true, limit: { percent: 2.5, files: 7 } }
marker: .mounted
emptyDirectories: keep
names: encode
triggers:
  - cron: "30 2 * * *"
    timezone: Europe/Berlin
  - watch: { settle: 5s, rescan: 1h }
include: ["**/*.gz"]
exclude: ["**/*.tmp"]
retries: { attempts: 5, firstDelay: 1s, maxDelay: 5m }
`;
const SERVERS = `nas:
  url: ftpes://nas.example.net
  user: backup
  password: { credential: nas }
  tls: { certificate: us.pem, key: { file: us.key } }
  active: { address: 192.0.2.7, ports: 50000-50100 }
  charset: iso-8859-15
  timeouts: { connect: 5s }
vault:
  url: sftp://backup@vault.example.net
  privateKey: { file: vault.key }
  passphrase: { credential: vault }
  agent: true
  hostKey: ["SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"]
  via: gate
gate: { url: "sftp://gate.example.net:2222", user: j, agent: /run/agent.socket, knownHosts: known }
`;
const AGENT = 'log: { level: info }\nstop: { within: 25s }\nrunsAtOnce: 4\n';

/** A text with some pieces cut out, doubled or replaced by signs that mean something to YAML. */
function mutated(text: string): fc.Arbitrary<string> {
  const piece = fc.oneof(
    fc.constantFrom(
      '',
      ' ',
      '\n',
      ': ',
      '- ',
      '*',
      '&a ',
      '*a',
      '!x ',
      '[',
      ']',
      '{',
      '}',
      '"',
      "'",
      '|',
      '>',
      '#',
    ),
    fc.constantFrom(
      '\t',
      '\0',
      '\r',
      '---\n',
      '...\n',
      '? ',
      '<<: ',
      '%YAML 1.1\n',
      '__proto__',
      'constructor: 1\n',
    ),
    fc.string({ unit: 'binary', maxLength: 5 }),
  );
  const cut = fc.tuple(fc.nat(text.length), fc.nat(12), piece);
  return fc
    .array(cut, { minLength: 1, maxLength: 6 })
    .map((cuts) =>
      cuts.reduce((now, [at, length, put]) => now.slice(0, at) + put + now.slice(at + length), text),
    );
}

test('any three files: each job is loaded or has an error, and each problem is one line with its place', async () => {
  const directory = await temporaryDirectory();
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        { weight: 5, arbitrary: mutated(JOB) },
        { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
      ),
      mutated(SERVERS),
      mutated(AGENT),
      async (job, servers, agent) => {
        await writeFile(path.join(directory, 'a.yaml'), job);
        await writeFile(path.join(directory, 'b.yaml'), 'from: /a\nto: nas:x\n');
        await writeFile(path.join(directory, 'servers.yaml'), servers);
        await writeFile(path.join(directory, 'agent.yaml'), agent);
        const { jobs, problems } = await loadDirectory(directory);
        for (const name of ['a', 'b']) {
          const failed = problems.some((problem) => problem.job === name && problem.severity === 'error');
          expect(jobs.some((loaded) => loaded.name === name)).toBe(!failed);
        }
        for (const problem of problems) {
          expect(problem.line).toBeGreaterThanOrEqual(1);
          expect(problem.column).toBeGreaterThanOrEqual(1);
          expect(formatProblem(problem)).toMatch(/^[^\n\0\x1b]+:\d+:\d+: (error|warning): [^\n\0\x1b]+$/);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('any data: shape and job are judged, and what is left of it can be judged again', () => {
  const words = fc.constantFrom(
    'from',
    'to',
    'mode',
    'compare',
    'conflicts',
    'deletes',
    'policy',
    'keep',
    'extraneous',
    'limit',
    'percent',
    'marker',
    'names',
    'url',
    'path',
    'server',
    'triggers',
    'cron',
    'watch',
    'settle',
    'include',
    'retries',
    'password',
    'env',
    'tls',
    'verify',
    'ca',
    'key',
    'certificate',
    'active',
    'ports',
    'charset',
    'timezone',
    '__proto__',
    'constructor',
    'a/b~c',
  );
  const value = fc.letrec((tie) => ({
    leaf: fc.oneof(
      fc.string(),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.constantFrom('ftp://h', 'ftp://h/{mtime}', '/x/{date}', 'nas:x', '5s', 'two-way', 'mirror'),
    ),
    any: fc.oneof(
      { maxDepth: 4 },
      tie('leaf'),
      fc.array(tie('any'), { maxLength: 4 }),
      fc.dictionary(fc.oneof(words, fc.string()), tie('any'), { maxKeys: 6 }),
    ),
  })).any;
  fc.assert(
    fc.property(value, (data) => {
      for (const form of ['job', 'servers', 'agent'] as const) {
        const { mistakes, rest } = checkShape(form, data);
        const places = mistakes.map(({ pointer, message }) => `${pointer} ${message}`);
        expect(new Set(places).size).toBe(places.length);
        if (mistakes.length > 0) checkShape(form, rest);
      }
      const { job, mistakes } = readJob(data, {
        name: 'a',
        file: '/jobs/a.yaml',
        directory: '/jobs',
        findServer: () => ({ kind: 'unknown', message: 'no', suggestion: undefined }),
        checkCron: () => undefined,
      });
      expect(job === undefined).toBe(mistakes.some(({ severity }) => severity === 'error'));
    }),
    { numRuns: 1_000 },
  );
});

test.each([
  ['opening brackets', '['.repeat(200_000)],
  ['keys', Array.from({ length: 50_000 }, (_, index) => `k${index}:`).join('\n')],
  ['one key', 'a:\n'.repeat(50_000)],
  ['entries', '- x\n'.repeat(50_000)],
  ['anchors', '&a '.repeat(30_000)],
  ['quotes', '"'.repeat(200_000)],
  ['aliases', `- &a x\n${'- *a\n'.repeat(15_000)}`],
])(
  'a file full of %s is judged in bounded time',
  (_, text) => {
    const reading = readDocument(text);
    expect(reading.kind).toBe('broken');
  },
  20_000,
);
