/*
 * The contract over a link with 40 ms of round trip, where peers that pass on loopback lose FTPS uploads: server at the
 * far end, and at the near end a vitest of its own that runs link-contract.ts and tells each test's end as JSON.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { describeLink, type Link, slowLink } from '../support/link.js';
import { describeReal, type ServerName, type SshServerName } from '../support/real-server.js';
import type { Security } from './real-berth.js';

const root = resolve(import.meta.dirname, '../..');
const roundTripMs = 40;

/** Where TLS is required, sessions have to be reused as far as the server can ask for it. */
const cases: readonly (readonly [
  ServerName | SshServerName,
  Security | 'ssh',
  'the whole contract' | 'uploads',
])[] = [
  ['vsftpd', 'explicit', 'the whole contract'],
  ['proftpd', 'plain', 'the whole contract'],
  ['proftpd', 'explicit', 'uploads'],
  ['pure-ftpd', 'explicit', 'uploads'],
  ['openssh', 'ssh', 'uploads'],
];

/** Those that only send. */
const uploads = / arrive whole/;

/** What vitest's JSON reporter says, as far as it is of use here. */
interface Told {
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** The environment of a vitest that knows nothing of the one around it. */
function environment(more: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST'));
  return { ...Object.fromEntries(own), ...more };
}

async function output(child: ChildProcess): Promise<{ readonly out: string; readonly complaint: string }> {
  const over = once(child, 'exit');
  const [out = '', complaint = ''] = await Promise.all(
    [child.stdout, child.stderr].map((stream) => (stream === null ? '' : text(stream))),
  );
  await over;
  return { out, complaint };
}

/** Runs link-contract.ts at the near end. */
async function run(
  link: Link,
  what: Readonly<Record<string, string>>,
  only: readonly string[],
): Promise<Told> {
  const child = link.near.spawn(
    [
      process.execPath,
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      ...['--config', join(root, 'test/support/link/vitest.config.ts')],
      '--reporter=json',
      ...only,
    ],
    { cwd: root, env: environment(what), stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const { out, complaint } = await output(child);
  const json = out.slice(out.indexOf('{'));
  if (!json.startsWith('{')) throw new Error(`vitest at the near end says nothing: ${complaint}${out}`);
  return JSON.parse(json);
}

describe.concurrent('all at once, for they mostly wait', () => {
  describeLink(`over a link of ${roundTripMs} ms`, () => {
    for (const [name, security, what] of cases) {
      describeReal(name, `${name}, ${security}`, () => {
        test(`${what}, and a hundred files arrive whole`, { timeout: 300_000 }, async () => {
          await using link = await slowLink({ roundTripMs });
          const { testResults } = await run(
            link,
            {
              FERRYD_FAR: JSON.stringify({ host: link.far.host, enter: link.far.enter }),
              FERRYD_SERVER: name,
              FERRYD_SECURITY: security,
            },
            what === 'uploads' ? ['--testNamePattern', uploads.source] : [],
          );
          expect(testResults.map(({ message }) => message).join('')).toBe('');
          const ends = testResults.flatMap(({ assertionResults }) => assertionResults);
          const failed = ends.filter(({ status }) => status === 'failed');
          expect(
            failed.map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages.join('\n')}`),
          ).toEqual([]);
          const passed = ends.filter(({ status }) => status === 'passed');
          const due = what === 'uploads' ? ends.filter(({ fullName }) => uploads.test(fullName)) : ends;
          expect(due.length).toBeGreaterThan(0);
          expect(passed).toEqual(due);
          expect(ends.length).toBeGreaterThan(40);
        });
      });
    }
  });
});
