import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import type { NoticeBody } from '../../src/notice/body.js';
import { tellCommand } from '../../src/notice/command.js';
import type { SendingContext } from '../../src/notice/sending.js';
import { temporaryDirectory } from '../support/temporary.js';
import { ALL, context } from './stage.js';

const BODY: NoticeBody = {
  version: 1,
  id: '6a1d',
  notice: 'failure',
  job: 'nightly',
  host: 'box',
  at: '2026-11-23T12:00:00.000Z',
  message: 'nightly: failed; $(touch never) `touch never`',
  about: 'run',
  state: 'failed:unreachable',
  since: '2026-11-23T11:00:00.000Z',
  was: null,
  run: {
    number: 7,
    outcome: 'failed',
    durationMs: 1500,
    uploaded: 0,
    downloaded: 0,
    deleted: 0,
    renamed: 0,
    skipped: 0,
    unchanged: 0,
    bytes: 0,
    failure: { kind: 'unreachable', code: 'ECONNREFUSED', message: 'nas refuses connections.' },
  },
  freshness: null,
};

function tell(
  argv: readonly string[],
  more: Partial<SendingContext> & { readonly timeLimitMs?: number } = {},
) {
  const { timeLimitMs = 10_000, ...rest } = more;
  return tellCommand(
    { kind: 'command', argv, timeLimitMs, on: ALL },
    { body: BODY, json: JSON.stringify(BODY) },
    context(rest),
  );
}

describe('a command', () => {
  it('gets what matters in its environment, and all of it on standard input', async () => {
    await using directory = await temporaryDirectory('notice');
    const script = 'env > "$1/env"; cat > "$1/input"';
    const sending = await tell(['/bin/sh', '-c', script, 'sh', directory.path]);
    expect(sending).toEqual({ kind: 'taken', message: 'The program /bin/sh took it.' });
    const environment = (await readFile(directory.join('env'), 'utf8')).split('\n');
    expect(environment).toEqual(
      expect.arrayContaining([
        'FERRYD_NOTICE=failure',
        'FERRYD_JOB=nightly',
        `FERRYD_MESSAGE=${BODY.message}`,
        'FERRYD_ID=6a1d',
        'FERRYD_HOST=box',
        'FERRYD_ABOUT=run',
        'FERRYD_STATE=failed:unreachable',
        'FERRYD_SINCE=2026-11-23T11:00:00.000Z',
        'FERRYD_RUN=7',
        'FERRYD_OUTCOME=failed',
        'FERRYD_FAILURE=ECONNREFUSED',
      ]),
    );
    expect(JSON.parse(await readFile(directory.join('input'), 'utf8'))).toEqual(BODY);
  });

  it('gets no variable that the board keeps from it', async () => {
    const script = '[ -z "$SESAME" ]';
    const environment = { PATH: process.env.PATH, SESAME: 'open' };
    expect(await tell(['/bin/sh', '-c', script], { environment })).toMatchObject({ kind: 'taken' });
    const environmentOfCommands = () => environment;
    expect(await tell(['/bin/sh', '-c', script], { environmentOfCommands })).toMatchObject({
      kind: 'not-now',
    });
  });

  it('that fails is run again later; its words are not repeated', async () => {
    const sending = await tell(['/bin/sh', '-c', 'echo T0P-SECRET; echo T0P-SECRET >&2; exit 3']);
    expect(sending).toEqual({ kind: 'not-now', message: 'The program /bin/sh ended with exit code 3.' });
    expect(await tell(['/bin/sh', '-c', 'kill -9 $$'])).toMatchObject({ kind: 'not-now' });
    expect(await tell(['/nowhere/at-all'])).toEqual({
      kind: 'not-now',
      message: 'The program /nowhere/at-all was not found.',
    });
  });

  it('has its time, and reads its input or does not', async () => {
    expect(await tell(['/bin/true'])).toMatchObject({ kind: 'taken' });
    expect(await tell(['/bin/sleep', '60'], { timeLimitMs: 50 })).toEqual({
      kind: 'not-now',
      message: 'The program /bin/sleep did not finish within 0.05 s and was ended.',
    });
  });

  it('is ended at a stop', async () => {
    const stop = new AbortController();
    const sending = tell(['/bin/sleep', '60'], { signal: stop.signal });
    stop.abort();
    expect(await sending).toEqual({ kind: 'stopped' });
  });
});
