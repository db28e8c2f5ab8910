/*
 * The planner's table a second time, as rules in words: the first rule that fits a cell says what stands in it. And what
 * must hold for every cell, whatever the rules say. Does not look at files: that is judge.test.ts.
 */
import { describe, expect, it, test } from 'vitest';
import {
  type Again,
  type Asked,
  type First,
  type Mode,
  type Verb,
  verbAgain,
  verbAtFirst,
} from '../../src/plan/table.js';

const MODES = ['copy', 'mirror', 'move', 'two-way'] as const satisfies readonly Mode[];
const FIRSTS = ['none', 'there', 'unseen'] as const satisfies readonly First[];
const AGAINS = ['same', 'changed', 'gone', 'unseen'] as const satisfies readonly Again[];

interface Cell {
  readonly mode: Mode;
  readonly source: First | Again;
  readonly target: Asked<First | Again>;
  readonly verb: Verb;
}

const first: readonly Cell[] = MODES.flatMap((mode) =>
  FIRSTS.flatMap((source) =>
    [...FIRSTS, 'unasked' as const].map((target) => ({
      mode,
      source,
      target,
      verb: verbAtFirst(mode, source, target),
    })),
  ),
);

const again: readonly Cell[] = MODES.flatMap((mode) =>
  AGAINS.flatMap((source) =>
    [...AGAINS, 'unasked' as const].map((target) => ({
      mode,
      source,
      target,
      verb: verbAgain(mode, source, target),
    })),
  ),
);

/** What it says, of which cells, and the verb. */
type Rule = readonly [says: string, of: (cell: Cell) => boolean, verb: Verb];

const sourceIs = (sight: First | Again) => (cell: Cell) => cell.source === sight;
const targetIs = (sight: Asked<First | Again>) => (cell: Cell) => cell.target === sight;
const sights =
  (source: First | Again, target: Asked<First | Again>) =>
  (cell: Cell): boolean =>
    cell.source === source && cell.target === target;
const inMode =
  (mode: Mode, of: (cell: Cell) => boolean) =>
  (cell: Cell): boolean =>
    cell.mode === mode && of(cell);

const FIRST_RULES: readonly Rule[] = [
  ['two-way decides nothing by half a look', inMode('two-way', targetIs('unasked')), 'leave'],
  ['two-way brings back what only the target has', inMode('two-way', sights('none', 'there')), 'back'],
  ['two-way writes to no place that it cannot see', inMode('two-way', sights('unseen', 'there')), 'blocked'],
  ['mirror may clear what only the target has', inMode('mirror', sights('none', 'there')), 'drop-foreign'],
  ['nothing comes of what the source does not show', (cell) => cell.source !== 'there', 'leave'],
  ['two files of one name meet', targetIs('there'), 'meet'],
  ['nothing is written to a place that cannot be seen', targetIs('unseen'), 'blocked'],
  ['what is new travels', () => true, 'send'],
];

const AGAIN_RULES: readonly Rule[] = [
  ['two-way decides nothing by half a look', inMode('two-way', targetIs('unasked')), 'leave'],
  ['two-way sends a change back', inMode('two-way', sights('same', 'changed')), 'back'],
  ['two-way prefers a change to a deletion', inMode('two-way', sights('gone', 'changed')), 'back'],
  ['two changes clash in two-way', inMode('two-way', sights('changed', 'changed')), 'clash'],
  [
    'two-way writes to no place that it cannot see',
    inMode('two-way', sights('unseen', 'changed')),
    'blocked',
  ],
  [
    'two-way deletes at the source what the target lost',
    inMode('two-way', sights('same', 'gone')),
    'drop-back',
  ],
  ['two-way cannot agree with what it cannot see', inMode('two-way', sights('same', 'unseen')), 'leave'],
  ['a blind source decides nothing', sourceIs('unseen'), 'leave'],
  ['a change is not written to a place that cannot be seen', sights('changed', 'unseen'), 'blocked'],
  ['over a change of the target goes what the source has', changedAtTargetOnly, 'replace'],
  ['a change travels', sourceIs('changed'), 'send'],
  ['what the target lost is sent again', sights('same', 'gone'), 'send'],
  ['a move is over when its source is gone', inMode('move', sourceIs('gone')), 'forget'],
  ['what is gone on both sides is forgotten', sights('gone', 'gone'), 'forget'],
  ['what a blind target has, nobody takes away', sights('gone', 'unseen'), 'leave'],
  ['a copy keeps what its source lost', inMode('copy', sourceIs('gone')), 'leave'],
  ['mirror spares what was changed unless told', inMode('mirror', sights('gone', 'changed')), 'drop-foreign'],
  ['what the source lost goes at the target', sourceIs('gone'), 'drop'],
  ['a move waits for a look at its target', inMode('move', sights('same', 'unseen')), 'leave'],
  ['a move that has arrived takes its last step', inMode('move', () => true), 'finish'],
  ['what is the same rests', () => true, 'rest'],
];

function changedAtTargetOnly(cell: Cell): boolean {
  return cell.target === 'changed' && (cell.source === 'same' || cell.source === 'changed');
}

describe.each([
  ['never agreed', first, FIRST_RULES],
  ['agreed once', again, AGAIN_RULES],
] as const)('where the sides %s', (_when, cells, rules) => {
  test.each(cells)('$mode: $source against $target is $verb', (cell) => {
    const [says, , verb] = rules.find(([, of]) => of(cell)) ?? [];
    expect({ verb: cell.verb, says }).toEqual({ verb, says });
  });

  test.each(rules.map(([says], i) => [says, i] as const))('a rule is needed: %s', (_says, place) => {
    const decides = (cell: Cell): boolean => rules.findIndex(([, of]) => of(cell)) === place;
    expect(cells.filter(decides).length).toBeGreaterThan(0);
  });
});

describe('whatever the rules say', () => {
  const all = [...first, ...again];
  const cellsOf = (...verbs: readonly Verb[]) => all.filter(({ verb }) => verbs.includes(verb));
  const writesOrDeletes: readonly Verb[] = [
    'send',
    'replace',
    'back',
    'clash',
    'meet',
    'drop',
    'drop-foreign',
    'drop-back',
    'finish',
  ];

  it('has every cell, and every verb somewhere', () => {
    expect(all).toHaveLength(4 * 3 * 4 + 4 * 4 * 5);
    expect(new Set(all.map(({ verb }) => verb)).size).toBe(13);
  });

  it('deletes in no copy', () => {
    expect(cellsOf('drop', 'drop-foreign', 'drop-back', 'finish').map(({ mode }) => mode)).not.toContain(
      'copy',
    );
  });

  it('deletes at the target only what is proven to be gone at the source', () => {
    for (const { mode, source, target } of cellsOf('drop', 'drop-foreign')) {
      expect(['mirror', 'two-way']).toContain(mode);
      expect(['none', 'gone']).toContain(source);
      expect(target).not.toBe('unseen');
    }
    for (const { target } of cellsOf('drop')) expect(['same', 'unasked']).toContain(target);
    for (const { mode, target } of cellsOf('drop-foreign')) {
      expect(mode).toBe('mirror');
      expect(['there', 'changed']).toContain(target);
    }
  });

  it('deletes at the source only what the target has as well, or what two-way saw go there', () => {
    for (const { mode, source, target } of cellsOf('finish', 'drop-back')) {
      expect(source).toBe('same');
      if (mode === 'two-way') expect(target).toBe('gone');
      else expect([mode, target === 'same' || target === 'unasked']).toEqual(['move', true]);
    }
  });

  it('does nothing to a side that cannot be seen, nor because of it', () => {
    for (const { source, target, verb } of all) {
      if (source === 'unseen') expect(['leave', 'blocked']).toContain(verb);
      // A move's source is the only one that is asked about.
      if (target === 'unseen') expect(['leave', 'blocked', 'rest', 'forget']).toContain(verb);
      if (source === 'unseen' || target === 'unseen') expect(writesOrDeletes).not.toContain(verb);
    }
  });

  it('goes back only in two-way, and replaces only out of it', () => {
    for (const { mode } of cellsOf('back', 'clash', 'drop-back')) expect(mode).toBe('two-way');
    for (const { mode } of cellsOf('replace', 'drop-foreign', 'finish')) expect(mode).not.toBe('two-way');
  });

  it('forgets only what the source has lost', () => {
    for (const { source, target, mode } of cellsOf('forget')) {
      expect(source).toBe('gone');
      if (mode !== 'move') expect(target).toBe('gone');
    }
  });

  it('believes the ledger as it would a target that is as it was left', () => {
    for (const mode of ['copy', 'mirror', 'move'] as const) {
      for (const source of AGAINS) {
        expect(verbAgain(mode, source, 'unasked')).toBe(verbAgain(mode, source, 'same'));
      }
      for (const source of FIRSTS) {
        expect(verbAtFirst(mode, source, 'unasked')).toBe(verbAtFirst(mode, source, 'none'));
      }
    }
  });

  it('reads two-way from either side alike', () => {
    const mirrored: Partial<Record<Verb, Verb>> = {
      send: 'back',
      back: 'send',
      drop: 'drop-back',
      'drop-back': 'drop',
    };
    const other = (verb: Verb): Verb => mirrored[verb] ?? verb;
    for (const a of FIRSTS) {
      for (const b of FIRSTS) expect(verbAtFirst('two-way', b, a)).toBe(other(verbAtFirst('two-way', a, b)));
    }
    for (const a of AGAINS) {
      for (const b of AGAINS) expect(verbAgain('two-way', b, a)).toBe(other(verbAgain('two-way', a, b)));
    }
  });
});
