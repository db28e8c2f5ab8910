/*
 * The planner's table: what a run does about one path, for every pair of sights and every mode. Pure and total; read a
 * row as "the source is so", a column as "the target is so". Which side is which is the job's direction; in two-way
 * both are both, and the table is its own mirror image. What the words mean for files and directories is judge.ts's.
 */

/** What a job wants to hold in the end. */
export type Mode = 'copy' | 'mirror' | 'move' | 'two-way';

/** A side's sight of a path on which the two never agreed. `unseen`: it may be there, and nobody could look. */
export type First = 'none' | 'there' | 'unseen';

/** A side's sight of a path on which they agreed once, against what they agreed on. */
export type Again = 'same' | 'changed' | 'gone' | 'unseen';

/** `unasked`: the target is not looked at, because the ledger knows. */
export type Asked<Sight> = Sight | 'unasked';

/**
 * - `rest`: nothing to do, the sides agree
 * - `leave`: nothing to do, and nothing is said about agreement
 * - `send`: from source to target, where at most our own earlier version stands
 * - `replace`: from source to target, over something that we did not put there
 * - `meet`: both sides have it, and never agreed: they may have the same
 * - `back`: from target to source
 * - `drop`: deleted at the target, ours and unchanged
 * - `drop-foreign`: deleted at the target although we did not put it there; only where the job asks for that
 * - `drop-back`: deleted at the source
 * - `finish`: the last step of a move: deleted at the source, because the target holds it
 * - `forget`: gone on both sides
 * - `clash`: changed on both sides
 * - `blocked`: it should travel, and what stands in its place cannot be seen
 */
export type Verb =
  | 'rest'
  | 'leave'
  | 'send'
  | 'replace'
  | 'meet'
  | 'back'
  | 'drop'
  | 'drop-foreign'
  | 'drop-back'
  | 'finish'
  | 'forget'
  | 'clash'
  | 'blocked';

type Row<Columns extends readonly string[]> = { readonly [Place in keyof Columns]: Verb };
type FirstRow = Row<['none', 'there', 'unseen', 'unasked']>;
type AgainRow = Row<['same', 'changed', 'gone', 'unseen', 'unasked']>;

// biome-ignore format: a table is read in columns
const FIRST: Readonly<Record<Mode, Readonly<Record<First, FirstRow>>>> = {
  // target: none      there            unseen     unasked
  copy: {
    none:    ['leave',   'leave',         'leave',   'leave'],
    there:   ['send',    'meet',          'blocked', 'send'],
    unseen:  ['leave',   'leave',         'leave',   'leave'],
  },
  mirror: {
    none:    ['leave',   'drop-foreign',  'leave',   'leave'],
    there:   ['send',    'meet',          'blocked', 'send'],
    unseen:  ['leave',   'leave',         'leave',   'leave'],
  },
  move: {
    none:    ['leave',   'leave',         'leave',   'leave'],
    there:   ['send',    'meet',          'blocked', 'send'],
    unseen:  ['leave',   'leave',         'leave',   'leave'],
  },
  'two-way': {
    none:    ['leave',   'back',          'leave',   'leave'],
    there:   ['send',    'meet',          'blocked', 'leave'],
    unseen:  ['leave',   'blocked',       'leave',   'leave'],
  },
};

// biome-ignore format: a table is read in columns
const AGAIN: Readonly<Record<Mode, Readonly<Record<Again, AgainRow>>>> = {
  // target: same      changed          gone       unseen     unasked
  copy: {
    same:    ['rest',    'replace',       'send',    'rest',    'rest'],
    changed: ['send',    'replace',       'send',    'blocked', 'send'],
    gone:    ['leave',   'leave',         'forget',  'leave',   'leave'],
    unseen:  ['leave',   'leave',         'leave',   'leave',   'leave'],
  },
  mirror: {
    // What is gone at the source goes at the target, as long as it is what was put there.
    same:    ['rest',    'replace',       'send',    'rest',    'rest'],
    changed: ['send',    'replace',       'send',    'blocked', 'send'],
    gone:    ['drop',    'drop-foreign',  'forget',  'leave',   'drop'],
    unseen:  ['leave',   'leave',         'leave',   'leave',   'leave'],
  },
  move: {
    // What both sides have was delivered by a run that did not come to its last step.
    same:    ['finish',  'replace',       'send',    'leave',   'finish'],
    changed: ['send',    'replace',       'send',    'blocked', 'send'],
    gone:    ['forget',  'forget',        'forget',  'forget',  'forget'],
    unseen:  ['leave',   'leave',         'leave',   'leave',   'leave'],
  },
  'two-way': {
    // A change is stronger than a deletion: what somebody has worked on comes back.
    same:    ['rest',    'back',          'drop-back', 'leave',   'leave'],
    changed: ['send',    'clash',         'send',    'blocked', 'leave'],
    gone:    ['drop',    'back',          'forget',  'leave',   'leave'],
    unseen:  ['leave',   'blocked',       'leave',   'leave',   'leave'],
  },
};

const FIRST_COLUMNS = { none: 0, there: 1, unseen: 2, unasked: 3 } as const satisfies Record<
  Asked<First>,
  number
>;
const AGAIN_COLUMNS = { same: 0, changed: 1, gone: 2, unseen: 3, unasked: 4 } as const satisfies Record<
  Asked<Again>,
  number
>;

/** What to do about a path on which the sides never agreed. */
export function verbAtFirst(mode: Mode, source: First, target: Asked<First>): Verb {
  return FIRST[mode][source][FIRST_COLUMNS[target]];
}

/** What to do about a path on which they agreed once. */
export function verbAgain(mode: Mode, source: Again, target: Asked<Again>): Verb {
  return AGAIN[mode][source][AGAIN_COLUMNS[target]];
}
