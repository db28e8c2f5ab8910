import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Finding,
  type Hearer,
  isWell,
  readStanding,
  type Standing,
  type State,
  topicOf,
  turn,
  writeStanding,
} from '../../src/notice/states.js';
import { ALL, HOUR, NOON } from './stage.js';

const EVERYBODY: readonly Hearer[] = [{ key: 'webhook 1', on: ALL }];

const WORDS: Readonly<Record<string, State>> = {
  ok: 'ok',
  partial: 'partial',
  held: 'held',
  unreachable: 'failed:unreachable',
  trust: 'failed:trust',
};

/** What is told over a row of findings, an hour between each and the next. */
function story(row: string, hearersAt: (index: number) => readonly Hearer[] = () => EVERYBODY) {
  let standing: Standing | undefined;
  return row.split(' ').flatMap((word, index) => {
    const state = WORDS[word];
    if (state === undefined) throw new Error(`no such word: ${word}`);
    const found: Finding = { state, message: isWell(state) ? '' : `${word}.`, atMs: NOON + index * HOUR };
    const turned = turn(standing, found, hearersAt(index));
    // Across a restart nothing is known but what was written down.
    const stored = writeStanding(turned?.standing ?? standing ?? fail());
    standing = readStanding({ job: 'a', topic: 'run', ...stored });
    return turned === undefined || turned.to.length === 0 ? [] : [{ index, ...turned }];
  });
}

function fail(): never {
  throw new Error('the first finding is always written down');
}

const toldIn = (row: string): string =>
  story(row)
    .map(({ index, topic }) => `${index}:${topic}`)
    .join(' ');

describe('what is told', () => {
  it.each([
    ['ok', ''],
    ['ok ok ok', ''],
    ['unreachable', '0:failure'],
    ['unreachable unreachable unreachable', '0:failure'],
    ['ok unreachable unreachable ok ok', '1:failure 3:recovery'],
    ['unreachable trust trust', '0:failure 1:failure'],
    ['unreachable trust unreachable', '0:failure 1:failure 2:failure'],
    ['partial partial ok', '0:partial 2:recovery'],
    ['held held ok held', '0:held 2:recovery 3:held'],
    ['unreachable partial ok', '0:failure 1:partial 2:recovery'],
  ])('%s: %s', (row, told) => {
    expect(toldIn(row)).toBe(told);
  });

  it('names in a recovery what was wrong last, and since when it was not well', () => {
    const recovery = story('ok unreachable trust trust ok').at(-1);
    expect(recovery?.was).toMatchObject({ state: 'failed:trust', message: 'trust.', sinceMs: NOON + HOUR });
  });

  it('tells a channel that came later of the state that still holds, once, and the others nothing', () => {
    const late = (index: number): readonly Hearer[] =>
      index < 2 ? EVERYBODY : [...EVERYBODY, { key: 'mail 1', on: ALL }];
    const told = story('unreachable unreachable unreachable unreachable ok', late);
    expect(told.map(({ index, to }) => [index, to])).toEqual([
      [0, ['webhook 1']],
      [2, ['mail 1']],
      [4, ['webhook 1', 'mail 1']],
    ]);
  });

  it('tells a recovery to those only that were told what was wrong', () => {
    const hearers: readonly Hearer[] = [
      { key: 'webhook 1', on: ['failure', 'recovery'] },
      { key: 'webhook 2', on: ['partial', 'recovery'] },
      { key: 'command 1', on: ['recovery'] },
      { key: 'mail 1', on: ['failure', 'partial'] },
    ];
    const to = (row: string) => story(row, () => hearers).map((told) => told.to);
    expect(to('unreachable ok')).toEqual([['webhook 1', 'mail 1'], ['webhook 1']]);
    expect(to('unreachable partial ok')).toEqual([
      ['webhook 1', 'mail 1'],
      ['webhook 2', 'mail 1'],
      ['webhook 1', 'webhook 2'],
    ]);
    expect(story('ok held ok', () => hearers)).toEqual([]);
  });
});

const states = fc.constantFrom<State>(
  'ok',
  'partial',
  'held',
  'failed:failed',
  'failed:unreachable',
  'failed:trust',
  'failed:configuration',
  'failed:verification',
);
const hearers = fc.uniqueArray(
  fc.record({
    key: fc.constantFrom('webhook 1', 'webhook 2', 'mail 1', 'command 1'),
    on: fc.subarray([...ALL]),
  }),
  { selector: ({ key }) => key },
);

function isBad(state: State | undefined): boolean {
  return state !== undefined && !isWell(state);
}

describe('whatever happens', () => {
  it('is told once for each state, always where it is bad, and "well again" only after something bad', () => {
    fc.assert(
      fc.property(fc.array(states, { maxLength: 30 }), hearers, (row, listeners) => {
        let standing: Standing | undefined;
        const heard = new Map<string, State[]>(listeners.map(({ key }) => [key, []]));
        row.forEach((state, index) => {
          const before = new Map([...heard].map(([key, told]) => [key, told.length]));
          const turned = turn(standing, { state, message: state, atMs: NOON + index }, listeners);
          if (turned !== undefined) {
            standing = readStanding({ job: 'a', topic: 'run', ...writeStanding(turned.standing) });
            expect(standing).toEqual({ ...turned.standing, warned: expect.any(Array) });
            expect(new Set(standing?.warned)).toEqual(new Set(turned.standing.warned));
            expect(turned.topic).toBe(topicOf(state));
            for (const key of turned.to) heard.get(key)?.push(state);
          }
          const changed = state !== row[index - 1];
          for (const { key, on } of listeners) {
            const news = (heard.get(key)?.length ?? 0) - (before.get(key) ?? 0);
            if (!changed || !on.includes(topicOf(state))) expect(news).toBe(0);
            else if (!isWell(state)) expect(news).toBe(1);
            else expect(news).toBe(isBad(heard.get(key)?.at(-1 - news)) ? 1 : 0);
          }
        });
        for (const { key } of listeners) {
          const told = heard.get(key) ?? [];
          told.forEach((state, index) => {
            const earlier = told[index - 1];
            if (isWell(state)) expect(isBad(earlier)).toBe(true);
          });
        }
      }),
    );
  });

  it('keeps the beginning of trouble until it is over', () => {
    fc.assert(
      fc.property(fc.array(states, { minLength: 1, maxLength: 30 }), (row) => {
        let standing: Standing | undefined;
        let sinceMs = NaN;
        row.forEach((state, index) => {
          const well = isWell(state);
          if (index === 0 || well !== isWell(row[index - 1] ?? 'ok')) sinceMs = NOON + index;
          standing =
            turn(standing, { state, message: '', atMs: NOON + index }, EVERYBODY)?.standing ?? standing;
          expect(standing).toMatchObject({ state, sinceMs });
        });
      }),
    );
  });
});

describe('what was stored', () => {
  it.each(['', 'strange', 'failed:', 'failed:strange', 'failed:toString'])('%j is no state', (state) => {
    expect(readStanding({ job: 'a', topic: 'run', state, sinceMs: 1, message: '' })).toBeUndefined();
  });
});
