/*
 * When a notice is due, as a pure function: what was known of one aspect of a job, what is found now, and who is
 * there to be told. A new state is told once to each channel that wants to hear of it, and the same state again to
 * nobody, except a channel that was not there yet; "well again" goes to exactly those that were told of something
 * bad. What was told is part of the state, so that it holds across restarts.
 */
import type { Topic } from '../job/job.js';
import type { FailureKind } from '../plan/outcome.js';
import type { StoredState } from './store.js';

export type State =
  | 'ok'
  | 'partial'
  | 'held'
  | `failed:${FailureKind}`
  | 'fresh'
  | 'overdue'
  | 'good'
  | 'broken';

/** How one aspect of a job was last found. */
export interface Standing {
  readonly state: State;
  /** Since when it is well, or since when it is not, whatever was wrong at first; milliseconds since 1970. */
  readonly sinceMs: number;
  /** What is wrong, in sentences; empty where nothing is. */
  readonly message: string;
  /** Channels that were told of this very state. */
  readonly told: readonly string[];
  /** Channels that were told of anything bad since it was last well. */
  readonly warned: readonly string[];
}

export interface Finding {
  readonly state: State;
  readonly message: string;
  /** Milliseconds since 1970. */
  readonly atMs: number;
}

/** A channel, as far as it matters here. */
export interface Hearer {
  readonly key: string;
  readonly on: readonly Topic[];
}

/** What a finding leads to. */
export interface Turn {
  readonly standing: Standing;
  readonly topic: Topic;
  /** Keys of the channels that are to be told; may be none. */
  readonly to: readonly string[];
  /** Of a recovery: what was wrong. */
  readonly was: Standing | undefined;
}

/** What the state is told as. */
export function topicOf(state: State): Topic {
  switch (state) {
    case 'ok':
    case 'fresh':
    case 'good':
      return 'recovery';
    case 'partial':
    case 'held':
    case 'overdue':
      return state;
    case 'broken':
      return 'configuration';
    default:
      return 'failure';
  }
}

/** True where nobody has to do anything. */
export function isWell(state: State): boolean {
  return topicOf(state) === 'recovery';
}

/** What is to be written down and told; undefined where everything stands as it stood. */
export function turn(
  known: Standing | undefined,
  found: Finding,
  hearers: readonly Hearer[],
): Turn | undefined {
  const topic = topicOf(found.state);
  const takers = hearers.filter(({ on }) => on.includes(topic)).map(({ key }) => key);
  const { state, message, atMs } = found;
  if (isWell(state)) {
    if (known !== undefined && isWell(known.state)) return undefined;
    const standing = { state, sinceMs: atMs, message: '', told: [], warned: [] };
    return { standing, topic, to: takers.filter((key) => known?.warned.includes(key) ?? false), was: known };
  }
  if (known?.state === state) {
    const late = takers.filter((key) => !known.told.includes(key));
    if (late.length === 0) return undefined;
    const told = [...known.told, ...late];
    return {
      standing: { ...known, told, warned: union(known.warned, late) },
      topic,
      to: late,
      was: undefined,
    };
  }
  const trouble = known === undefined || isWell(known.state) ? undefined : known;
  return {
    standing: {
      state,
      sinceMs: trouble?.sinceMs ?? atMs,
      message,
      told: takers,
      warned: union(trouble?.warned ?? [], takers),
    },
    topic,
    to: takers,
    was: undefined,
  };
}

function union(some: readonly string[], others: readonly string[]): readonly string[] {
  return [...new Set([...some, ...others])];
}

const KINDS: Readonly<Record<FailureKind, true>> = {
  failed: true,
  configuration: true,
  unreachable: true,
  trust: true,
  held: true,
  locked: true,
  verification: true,
};

const STATES: ReadonlySet<string> = new Set<State>([
  'ok',
  'partial',
  'held',
  'fresh',
  'overdue',
  'good',
  'broken',
]);

function isState(text: string): text is State {
  return STATES.has(text) || (text.startsWith('failed:') && Object.hasOwn(KINDS, text.slice(7)));
}

/** As the ledger keeps it: the state, then who was told of it, then who was told before. */
export function writeStanding({ state, sinceMs, message, told, warned }: Standing): Change['state'] {
  const before = warned.filter((key) => !told.includes(key));
  return { state: [state, told.join(','), before.join(',')].join('|'), sinceMs, message };
}

type Change = { readonly state: Omit<StoredState, 'job' | 'topic'> };

/** Undefined where nothing is stored, or by a ferryd that knew other states. */
export function readStanding(stored: StoredState | undefined): Standing | undefined {
  if (stored === undefined) return undefined;
  const [state = '', told = '', before = ''] = stored.state.split('|');
  if (!isState(state)) return undefined;
  const keys = (text: string): string[] => text.split(',').filter((key) => key !== '');
  return {
    state,
    sinceMs: stored.sinceMs,
    message: stored.message,
    told: keys(told),
    warned: [...new Set([...keys(told), ...keys(before)])],
  };
}
