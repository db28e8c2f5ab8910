/*
 * Faults as data, in the manner of curl's FTP test server: a rule says where in the conversation something goes
 * wrong, how often, and what. Rules are counted, never drawn by lot, so a test that fails fails again.
 * This file knows nothing of sockets; session.ts and transfer.ts carry the faults out.
 */

/**
 * Where in the life of one command a fault strikes.
 * - `start`: in place of executing the command (the default)
 * - `mark`: transfers only: in place of the preliminary reply (150), with the data connection made and the file open
 * - `final`: the command was executed whole; in place of its final reply
 * - `after`: behind the normal final reply
 */
export type At = 'start' | 'mark' | 'final' | 'after';

/**
 * Points of the conversation that are no command.
 * - `connect`: a control connection was accepted, nothing was sent yet
 * - `greeting`: the 220 (its faults count as `final`)
 * - `tls`: the handshake on the control connection, behind the 234 or at once where TLS is implicit
 * - `data`: a passive data connection was accepted
 * - `data-tls`: the handshake on the data connection, behind the 150
 */
export type Phase = 'connect' | 'greeting' | 'tls' | 'data' | 'data-tls';

/** One write on the control connection, or a pause between two. Strings are sent as UTF-8, exactly as they stand. */
export type Piece = string | Uint8Array | { readonly pauseMs: number };

/** How a connection ends: with a TCP RST, with a FIN, or not at all (silence until the other side gives up). */
export type Ending = 'reset' | 'close' | 'hang';

export type Fault =
  /** Any text in place of the reply; `\n` inside makes a reply of several lines, CRLF is added. */
  | { readonly kind: 'reply'; readonly text: string; readonly at?: At }
  /** Exact bytes in place of the reply; nothing is added. Each piece is a write of its own. */
  | { readonly kind: 'bytes'; readonly pieces: Piece | readonly Piece[]; readonly at?: At }
  /** The normal reply, torn at these offsets (or everywhere), `pauseMs` (2) between the parts. */
  | { readonly kind: 'split'; readonly offsets: readonly number[] | 'every-byte'; readonly pauseMs?: number }
  /** The normal reply with other line endings, say `\n`. */
  | { readonly kind: 'lineEnding'; readonly ending: string }
  /** The normal reply as the last line of one of several lines: these stand in front of it, as they are. */
  | { readonly kind: 'multiline'; readonly lines: readonly string[] }
  /** The reply is kept and sent in one packet with the next one. */
  | { readonly kind: 'holdBack' }
  /** Bytes in front of the normal reply, in the same packet. */
  | { readonly kind: 'prepend'; readonly bytes: string | Uint8Array }
  /** Bytes behind the normal reply, in the same packet; on AUTH this is plaintext behind the 234. */
  | { readonly kind: 'inject'; readonly bytes: string | Uint8Array }
  /** Only the first `atByte` bytes of a reply (the final one unless `of` says otherwise), then the end. */
  | { readonly kind: 'cut'; readonly atByte: number; readonly ending: Ending; readonly of?: 'mark' | 'final' }
  /** Silence: the connection stays, commands are journalled, nothing is executed or answered any more. */
  | { readonly kind: 'hang'; readonly at?: At }
  /** TCP RST on the control connection; the data connection goes the same way. */
  | { readonly kind: 'reset'; readonly at?: At }
  /** FIN on the control connection; the data connection goes the same way. */
  | { readonly kind: 'close'; readonly at?: At }
  /** Waits at that point, then goes on as normal. */
  | { readonly kind: 'delay'; readonly ms: number; readonly at?: At }
  /** The command is executed, its final reply never comes; later commands are answered. */
  | { readonly kind: 'noFinalReply' }
  /** The final reply comes twice, in one packet. */
  | { readonly kind: 'doubleFinal' }
  /** 226 in front of the data (`data`, the default), or even in front of the 150 (`mark`). */
  | { readonly kind: 'finalReplyFirst'; readonly before?: 'data' | 'mark' }
  /** SIZE, MLST and listings tell so many bytes too many (or, negative, too few). */
  | { readonly kind: 'wrongSize'; readonly addBytes: number }
  /** On EPSV and PASV: a port where nobody listens. */
  | { readonly kind: 'refuseData' }
  /** TCP RST on the data connection when `atByte` bytes of content went through; then `reply` (426). */
  | { readonly kind: 'dataReset'; readonly atByte: number; readonly reply?: string }
  /** The data connection is closed in good order at that byte; then `reply` (226: a short file that looks whole). */
  | { readonly kind: 'dataClose'; readonly atByte: number; readonly reply?: string }
  /** Nothing moves on the data connection from that byte on, for `ms` or for good. */
  | { readonly kind: 'dataStall'; readonly atByte: number; readonly ms?: number }
  /** The control connection ends at that byte of the data; the data connection goes the same way. */
  | { readonly kind: 'controlEnd'; readonly atByte: number; readonly how: Ending }
  /** STOR and APPE: everything is read, only the first `sizeBytes` are kept; then `reply` (226). */
  | { readonly kind: 'storeShort'; readonly sizeBytes: number; readonly reply?: string }
  /** The byte of the content at that offset arrives inverted: right size, wrong content. */
  | { readonly kind: 'corrupt'; readonly atByte: number }
  /** RETR and listings: these bytes in place of the content. */
  | { readonly kind: 'content'; readonly bytes: string | Uint8Array }
  /** RETR and listings under TLS: a bare FIN where close_notify belongs. */
  | { readonly kind: 'noCloseNotify' }
  /** The data connection's TLS cannot resume any session (with `requireSessionReuse`: is refused). */
  | { readonly kind: 'noResumption' }
  /**
   * What the control connection sends is torn at that byte, counted from the moment the rule fired, with `pauseMs` (2)
   * between the parts. With `on: 'connect'` that is any byte of the conversation.
   */
  | { readonly kind: 'tearAfter'; readonly sentBytes: number; readonly pauseMs?: number }
  /**
   * The control connection drops once it has sent or received so many bytes (of FTP, not of TLS) or received so
   * many commands since the rule fired. With `on: 'connect'` that is any byte of the conversation.
   */
  | {
      readonly kind: 'dropAfter';
      readonly sentBytes?: number;
      readonly receivedBytes?: number;
      readonly commands?: number;
      readonly how?: Ending;
    };

export type FaultKind = Fault['kind'];
export type FaultOf<K extends FaultKind> = Extract<Fault, { readonly kind: K }>;

/** One scripted misbehaviour. All conditions must hold; the rule counts the times they did. */
export interface Rule {
  /** A verb (`'STOR'`), a phase (`'connect'`), or an expression held against the whole line (`/^RNTO .*\.gz$/`). */
  readonly on: string | RegExp;
  /**
   * Narrows by path: a glob (`*`, `**`, `?`) against the absolute virtual path (`/home/a.txt`) or the argument as
   * it was sent, whichever fits; or an expression against the absolute virtual path.
   */
  readonly path?: string | RegExp;
  /** Narrows to one control connection, counted from 1. */
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
  /** The verb in capitals, or the phase. */
  readonly name: string;
  /** The whole line, or the phase. */
  readonly line: string;
  readonly argument: string;
  /** Absolute virtual path, where the command takes one. */
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

  /** The fault of that kind that strikes at that point; `start` where the fault does not say. */
  at<K extends 'reply' | 'bytes' | 'hang' | 'reset' | 'close' | 'delay'>(
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

  #matches(occasion: Occasion): boolean {
    const { on, connection } = this.rule;
    if (typeof on === 'string' ? on !== occasion.name : !fresh(on).test(occasion.line)) return false;
    if (connection !== undefined && connection !== occasion.connection) return false;
    if (this.#path === undefined) return true;
    if (occasion.path === undefined) return false;
    const path = fresh(this.#path);
    return path.test(occasion.path) || (typeof this.rule.path === 'string' && path.test(occasion.argument));
  }
}

/** The rules of one server, in the order they were set. */
export class Script {
  #rules: CountedRule[] = [];

  add(rule: Rule): ScriptedRule {
    if (typeof rule.on === 'string' && !/^([A-Z]+|[a-z-]+)$/.test(rule.on)) {
      throw new Error(`A rule is on a VERB, a phase or an expression, not on ${JSON.stringify(rule.on)}`);
    }
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
    const due = this.#rules.filter((rule) => rule.meets(occasion)).flatMap((counted) => counted.rule.do);
    return due.length === 0 ? noFaults : new Faults(due);
  }
}

/** Expressions with the g or y flag remember where they stopped; a rule must not. */
function fresh(expression: RegExp): RegExp {
  expression.lastIndex = 0;
  return expression;
}

function globExpression(glob: string): RegExp {
  const body = glob.replace(/\*\*\/?|[*?]|[.+^${}()|[\]\\]/g, (token) => {
    if (token === '**/') return '(?:.*/)?';
    if (token === '**') return '.*';
    if (token === '*') return '[^/]*';
    if (token === '?') return '[^/]';
    return `\\${token}`;
  });
  return new RegExp(`^${body}$`, 'su');
}
