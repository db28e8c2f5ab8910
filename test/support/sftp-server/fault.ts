/*
 * Faults as data, as in ftp-server/fault.ts: a rule says where in the conversation something goes wrong, how often,
 * and what. Rules are counted, never drawn by lot, so a test that fails fails again.
 * This file knows nothing of sockets; connection.ts, session.ts and requests.ts carry the faults out.
 */
import type { WireAttributes } from './packet.js';

/**
 * Where in the life of one request a fault strikes.
 * - `start`: in place of executing the request (the default)
 * - `final`: the request was executed whole; in place of its answer
 * - `after`: behind the normal answer
 */
export type At = 'start' | 'final' | 'after';

/**
 * Points of the conversation that are no SFTP request.
 * - `connect`: a TCP connection was accepted, nothing was sent yet
 * - `auth`: the client tries to log in; `path` is the method
 * - `session`: the client opens a channel
 * - `subsystem`: it asks for the SFTP subsystem on it
 * - `forward`: it asks for a connection through this server
 */
export type Phase = 'connect' | 'auth' | 'session' | 'subsystem' | 'forward';

/**
 * How a connection ends: with a TCP RST, with a FIN, by the end of the SFTP channel alone (`channel`), or not at all:
 * `hang` is silence on the SFTP channel while SSH still answers keep-alives, `mute` is silence altogether.
 */
export type Ending = 'reset' | 'close' | 'channel' | 'hang' | 'mute';

/** Attributes to put in the place of the true ones; `none` leaves one out. */
export type Lie = { readonly [K in keyof WireAttributes]?: WireAttributes[K] | 'none' };

/** An entry that a listing shows besides. */
export interface FalseName {
  readonly name: string | Buffer;
  readonly longname?: string | Buffer;
  readonly attributes?: WireAttributes;
}

export type Fault =
  /** This status in place of the answer (any number), with these words or the usual ones. */
  | { readonly kind: 'status'; readonly code: number; readonly words?: string; readonly at?: At }
  /** Exact bytes on the channel in place of the answer. */
  | { readonly kind: 'bytes'; readonly bytes: string | Uint8Array; readonly at?: At }
  /** A packet of this type with the request's id and this body in place of the answer. */
  | { readonly kind: 'packet'; readonly type: number; readonly body?: Uint8Array; readonly at?: At }
  /** The connection, or the channel, ends or falls silent. `at` 0 bytes of nothing: see `cut` for the middle. */
  | { readonly kind: 'end'; readonly how: Ending; readonly at?: At }
  /** Waits at that point, then goes on as normal. Later requests wait, too. */
  | { readonly kind: 'delay'; readonly ms: number; readonly at?: At }
  /** At the phases `auth`, `session`, `subsystem` and `forward`: refused. */
  | { readonly kind: 'refuse' }
  /** The request is executed, its answer never comes; later requests are answered. */
  | { readonly kind: 'noAnswer' }
  /** The answer comes twice. */
  | { readonly kind: 'double' }
  /** Only the first `atByte` bytes of the answer's packet, then the end. */
  | { readonly kind: 'cut'; readonly atByte: number; readonly how: Ending }
  /** The answer's last `bytes` bytes are missing, and its length says so: what is inside runs past its end. */
  | { readonly kind: 'shorten'; readonly bytes: number }
  /** The length in front of the answer is this one, whatever follows. */
  | { readonly kind: 'length'; readonly bytes: number }
  /** The answer bears the request's id and so much more. */
  | { readonly kind: 'wrongId'; readonly add: number }
  /** The answer, torn into pieces of so many bytes. */
  | { readonly kind: 'split'; readonly everyBytes: number }
  /** Bytes in front of or behind the normal answer. */
  | { readonly kind: 'inject'; readonly bytes: string | Uint8Array; readonly where: 'before' | 'behind' }
  /** Attributes in the answer (ATTRS, NAME) lie; in a NAME those of the entry called `name`, or of all. */
  | { readonly kind: 'attributes'; readonly changes: Lie; readonly name?: string }
  /** A HANDLE with this handle, which no later request knows. */
  | { readonly kind: 'handle'; readonly handle: Uint8Array }
  /** READDIR: these entries besides (`add`, the default) or in place of the true ones. */
  | { readonly kind: 'names'; readonly entries: readonly FalseName[]; readonly how?: 'add' | 'replace' }
  /** On OPENDIR: the listing never ends; each READDIR gives `entries` (100) new names. */
  | { readonly kind: 'endlessListing'; readonly entries?: number }
  /** On OPENDIR: the listing ends after so many entries, as if there were no more. */
  | { readonly kind: 'cutListing'; readonly entries: number }
  /** WRITE: only the first `bytes` bytes are kept, and it is acknowledged all the same. */
  | { readonly kind: 'shortWrite'; readonly bytes: number }
  /** READ and WRITE: the byte at that offset of the file is inverted, where it is among those moved. */
  | { readonly kind: 'corrupt'; readonly atByte: number }
  /** READ: at most so many bytes; 0 is a DATA with nothing in it. */
  | { readonly kind: 'shortRead'; readonly bytes: number }
  /** READ: so many bytes more than were asked for. */
  | { readonly kind: 'longRead'; readonly addBytes: number }
  /** READ: never at its end; zeros come as often as they are asked for. */
  | { readonly kind: 'endlessRead' }
  /** New keys are agreed on, while everything goes on. */
  | { readonly kind: 'rekey'; readonly at?: At }
  /** The TCP connection ends once it has sent or received so many bytes since the rule fired, or so many requests. */
  | {
      readonly kind: 'dropAfter';
      readonly sentBytes?: number;
      readonly receivedBytes?: number;
      readonly requests?: number;
      readonly how?: Ending;
    };

export type FaultKind = Fault['kind'];
export type FaultOf<K extends FaultKind> = Extract<Fault, { readonly kind: K }>;

/** One scripted misbehaviour. All conditions must hold; the rule counts the times they did. */
export interface Rule {
  /**
   * A request (`'OPEN'`), an extended request by its name (`'fsync@openssh.com'`), `'EXTENDED'` for all of those,
   * a phase (`'connect'`), or an expression held against `OPEN /home/ferry/file`.
   */
  readonly on: string | RegExp;
  /**
   * Narrows by path: a glob (`*`, `**`, `?`) against the absolute virtual path, or an expression against it. A
   * request on a handle has the path that was opened, a RENAME or link the first of its two.
   */
  readonly path?: string | RegExp;
  /** Narrows to one TCP connection, counted from 1. */
  readonly connection?: number;
  /** The match that fires first, counted from 1 (the default), or `every` from the first on. */
  readonly nth?: number | 'every';
  /** How many matches in a row fire: 1, or without end for `every`. */
  readonly times?: number;
  readonly do: Fault | readonly Fault[];
}

/** What a test may ask of a rule it has set. */
export interface ScriptedRule {
  /** How often the conditions held. */
  readonly matched: number;
  /** How often the faults were carried out. */
  readonly fired: number;
  remove(): void;
}

/** Something that a rule may match. Strings hold text decoded as the journal shows it. */
export interface Occasion {
  /** The request, the extension, or the phase. */
  readonly name: string;
  /** Another name it goes by (`EXTENDED`). */
  readonly also?: string | undefined;
  /** Absolute virtual path, where there is one. */
  readonly path: string | undefined;
  readonly connection: number;
}

/** The faults that fired on one occasion. */
export class Faults {
  readonly #list: readonly Fault[];

  constructor(list: readonly Fault[]) {
    this.#list = list;
  }

  get some(): boolean {
    return this.#list.length > 0;
  }

  find<K extends FaultKind>(kind: K): FaultOf<K> | undefined {
    return this.#list.find((fault): fault is FaultOf<K> => fault.kind === kind);
  }

  all<K extends FaultKind>(kind: K): FaultOf<K>[] {
    return this.#list.filter((fault): fault is FaultOf<K> => fault.kind === kind);
  }

  /** The fault of that kind that strikes at that point; `start` where the fault does not say. */
  at<K extends 'status' | 'bytes' | 'packet' | 'end' | 'delay' | 'rekey'>(
    kind: K,
    at: At,
  ): FaultOf<K> | undefined {
    return this.#list.find((fault): fault is FaultOf<K> => fault.kind === kind && where(fault) === at);
  }
}

export const noFaults = new Faults([]);

function where(fault: Fault): At {
  return 'at' in fault && fault.at !== undefined ? fault.at : 'start';
}

class CountedRule implements ScriptedRule {
  matched = 0;
  fired = 0;
  readonly rule: Rule;
  readonly #path: RegExp | undefined;
  readonly #remove: (rule: CountedRule) => void;

  constructor(rule: Rule, remove: (rule: CountedRule) => void) {
    this.rule = rule;
    this.#path = typeof rule.path === 'string' ? globExpression(rule.path) : rule.path;
    this.#remove = remove;
  }

  remove(): void {
    this.#remove(this);
  }

  /** Counts a match; true where the faults are due. */
  meets(occasion: Occasion): boolean {
    if (!this.#matches(occasion)) return false;
    this.matched += 1;
    const nth = this.rule.nth ?? 1;
    const first = nth === 'every' ? 1 : nth;
    const times = this.rule.times ?? (nth === 'every' ? Number.POSITIVE_INFINITY : 1);
    if (this.matched < first || this.matched >= first + times) return false;
    this.fired += 1;
    return true;
  }

  #matches({ name, also, path, connection }: Occasion): boolean {
    const { on } = this.rule;
    if (typeof on === 'string' ? on !== name && on !== also : !fresh(on).test(`${name} ${path ?? ''}`))
      return false;
    if (this.rule.connection !== undefined && this.rule.connection !== connection) return false;
    return this.#path === undefined || (path !== undefined && fresh(this.#path).test(path));
  }
}

/** The rules of one server, in the order they were set. */
export class Script {
  #rules: CountedRule[] = [];

  add(rule: Rule): ScriptedRule {
    const counted = new CountedRule(rule, (gone) => {
      this.#rules = this.#rules.filter((other) => other !== gone);
    });
    this.#rules.push(counted);
    return counted;
  }

  clear(): void {
    this.#rules = [];
  }

  /** All faults due on this occasion; every rule that matches is counted. */
  meet(occasion: Occasion): Faults {
    if (this.#rules.length === 0) return noFaults;
    const due = this.#rules.filter((rule) => rule.meets(occasion)).flatMap((counted) => counted.rule.do);
    return due.length === 0 ? noFaults : new Faults(due);
  }
}

/** Expressions with the g or y flag remember where they stopped; a rule must not. */
function fresh(expression: RegExp): RegExp {
  expression.lastIndex = 0;
  return expression;
}

/** A glob without a slash at its front fits at any depth: `*.gz`, `dumps/*`. */
function globExpression(glob: string): RegExp {
  const body = glob.replace(/\*\*\/?|[*?]|[.+^${}()|[\]\\]/g, (token) => {
    if (token === '**/') return '(?:.*/)?';
    if (token === '**') return '.*';
    if (token === '*') return '[^/]*';
    if (token === '?') return '[^/]';
    return `\\${token}`;
  });
  return new RegExp(`^${glob.startsWith('/') ? '' : '(?:.*/)?'}${body}$`, 'su');
}
