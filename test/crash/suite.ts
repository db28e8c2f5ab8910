/*
 * The sweeps of all operations against one server as tests, and the line that says how much was swept.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findServer } from '../support/real-server.js';
import type { TemporaryDirectory } from '../support/temporary.js';
import { OPERATIONS, type Operation } from './operations.js';
import { compile, Reader, Victims } from './processes.js';
import type { ServerKind } from './scene.js';
import { type Swept, sweep } from './sweep.js';

/** One sweep takes seconds, and far longer only where the machine has much else to do. */
const SWEEP_MS = 300_000;

/** Started ahead of each lane. */
const AHEAD = 3;

export function sweepAll(kind: ServerKind): void {
  const operations = operationsOf(kind);
  const thoroughness = process.env.FERRYD_SWEEP === 'each' ? 'each point' : 'each state';
  let compiled: TemporaryDirectory;
  let victims: Victims;
  let reader: Reader;
  const all: Swept[] = [];
  const beganMs = performance.now();

  beforeAll(async () => {
    compiled = await compile();
    victims = new Victims(compiled, AHEAD);
    reader = new Reader(compiled);
  });
  afterAll(async () => {
    await victims[Symbol.asyncDispose]();
    await reader[Symbol.asyncDispose]();
    await compiled.remove();
    const seconds = Math.round((performance.now() - beganMs) / 1000);
    process.stdout.write(`\n${figuresOf(kind, all)} in ${seconds} s.\n\n`);
  });

  describe(`killed at every point, ${kind}`, () => {
    it.each(operations.map((operation) => [operation.name, operation] as const))(
      '%s',
      async (name, operation) => {
        const swept = await sweep(operation, kind, { victims, reader, thoroughness });
        all.push(swept);
        process.stdout.write(`${kind}: ${name}: ${swept.points} points, ${swept.kills} kills\n`);
        expect(swept.wrong).toEqual([]);
        // A sweep that met nothing would find nothing.
        expect(swept.points).toBeGreaterThan(15);
        expect(swept.kills).toBeGreaterThanOrEqual(10);
        expect(swept.missed).toBeLessThan(swept.kills / 4);
        expect(swept.looks).toBeGreaterThan(swept.kills);
      },
      SWEEP_MS,
    );
  });
}

/**
 * Where real servers are at hand, the scripted one is left what none of them has, unless each point is wanted: it says
 * the same as they do, and each sweep takes minutes.
 */
function operationsOf(kind: ServerKind): readonly Operation[] {
  const all = OPERATIONS.filter(({ servers }) => servers.includes(kind));
  const isNeeded = findServer('vsftpd') === undefined || process.env.FERRYD_SWEEP === 'each';
  return kind !== 'scripted' || isNeeded ? all : all.filter(({ servers }) => servers.length === 1);
}

function figuresOf(kind: ServerKind, all: readonly Swept[]): string {
  const sum = (of: (swept: Swept) => number): number => all.reduce((total, swept) => total + of(swept), 0);
  const kinds = ['ledger', 'command', 'reply', 'data', 'disk']
    .map((one) => `${one} ${sum(({ byKind }) => byKind[one] ?? 0)}`)
    .join(', ');
  return (
    `Crash sweep, ${kind}: ${sum(({ points }) => points)} points (${kinds}) of ${all.length} operations ` +
    `in ${sum(({ states }) => states)} states, ${sum(({ kills }) => kills)} kills; the reader looked ${sum(({ looks }) => looks)} times ` +
    `and saw ${sum(({ files }) => files)} files,`
  );
}
