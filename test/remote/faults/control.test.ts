/*
 * The control connection ends, or falls silent, at every command of a whole conversation: before the command is
 * executed, in place of the mark of a transfer, and after it was executed, in place of its reply. Pushes and pulls,
 * plain and under TLS, with the commands of able servers and of poor ones.
 */
import { describe, expect, test, vi } from 'vitest';
import type { At, Fault } from '../../support/ftp-server/fault.js';
import {
  again,
  CLEAN,
  conversation,
  ended,
  LOST,
  type Point,
  reconnected,
  type Step,
  type SweepOptions,
  sweep,
} from './sweep.js';

// Hundreds of runs each, on a machine that may be busy; every single run has a deadline of its own.
vi.setConfig({ testTimeout: 120_000 });

interface Journey extends SweepOptions {
  /** Which commands are swept; all of them unless told. */
  readonly only?: readonly string[];
}

const journeys: Readonly<Record<string, Journey>> = {
  push: {},
  pull: { direction: 'pull' },
  'push under TLS': {
    server: { security: 'explicit' },
    only: ['AUTH', 'PBSZ', 'PROT', 'USER', 'STOR', 'RNTO'],
  },
  'pull under TLS': {
    direction: 'pull',
    server: { security: 'implicit' },
    only: ['greeting', 'MLSD', 'RETR'],
  },
  'push into directories that are missing': {
    files: { 'deep/er/one': 'x'.repeat(30), 'deep/er/two': 'y'.repeat(40) },
    detours: 1,
    only: ['MKD', 'CWD'],
  },
  'push to a server without EPSV, MFMT and renames onto files': {
    server: { renameOverwrites: false, features: { EPSV: false, MFMT: false } },
    only: ['PASV', 'MDTM', 'RNTO', 'SIZE', 'DELE'],
  },
  'pull from a server without MLSD and EPSV': {
    direction: 'pull',
    server: { features: { MLSD: false, MLST: false, EPSV: false } },
    only: ['PASV', 'CWD', 'LIST', 'MDTM'],
  },
};

const TRANSFERS = ['STOR', 'RETR', 'MLSD', 'LIST'];

/** Every moment in the life of a command. */
const moments = ({ on }: Step): readonly At[] =>
  TRANSFERS.includes(on) ? ['start', 'mark', 'final'] : ['start', 'final'];

/** By name; resets and closes take turns. */
const breaks: Readonly<Record<string, (at: At, turn: number) => Fault>> = {
  'a 421': (at) => ({ kind: 'reply', text: '421 Going down.', at }),
  'an end': (at, turn) => ({ kind: turn % 2 === 0 ? 'reset' : 'close', at }),
  silence: (at) => ({ kind: 'hang', at }),
};

function judged(step: Step, name: string): RegExp {
  if (step.part === 'goodbye') return CLEAN;
  if (step.part === 'session') return again(LOST);
  if (name !== 'a 421') return reconnected(LOST);
  // The server does not want us now.
  return ['greeting', 'USER', 'PASS'].includes(step.on) ? ended('unreachable/421') : reconnected('421');
}

describe.each(Object.entries(journeys))('%s', (_journey, journey) => {
  test.each(Object.keys(breaks))('%s at each command, once', async (name) => {
    const { steps } = await conversation(journey);
    const { only = steps.map(({ on }) => on) } = journey;
    const which = steps.filter(({ on }) => only.includes(on));
    expect(only.filter((on) => !which.some((step) => step.on === on))).toEqual([]);
    const points = which.flatMap((step, turn) =>
      moments(step).map((at, moment): Point => {
        const fault = breaks[name]?.(at, turn + moment) ?? { kind: 'reset' };
        return {
          name: `${step.on} ${step.nth} at ${at}`,
          rules: [{ on: step.on, nth: step.nth, do: fault }],
          judged: judged(step, name),
        };
      }),
    );
    const swept = await sweep(points, {
      ...journey,
      ...(name === 'silence' ? { patience: 'impatient', lanes: 16 } : {}),
    });
    expect(swept).toBeGreaterThan(which.length);
  });
});

/** All files were given up for this run; or another way was found, as PASV is where EPSV has no answer. */
const inVain = new RegExp(`^(?:ok|partial)(?: retry:(?:${LOST}))+(?: skip:(?:${LOST}))*$`);

test('at every command of its kind, for a whole run: it ends, and the next one brings all together', async () => {
  const kinds = new Map<string, Step>();
  const { steps } = await conversation();
  for (const step of steps) if (step.part !== 'goodbye') kinds.set(step.on, step);
  const points = [...kinds.values()].flatMap((step) =>
    Object.entries(breaks).map(
      ([name, fault]): Point => ({
        name: `${name} at every ${step.on}`,
        rules: [{ on: step.on, nth: 'every', do: fault('start', 0) }],
        judged: step.part === 'opening' ? ended('unreachable/\\S+') : inVain,
        resends: 100,
      }),
    ),
  );
  expect(await sweep(points, { patience: 'impatient', attempts: 3, lanes: 16 })).toBeGreaterThan(35);
});
