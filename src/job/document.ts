/*
 * YAML 1.2 text to plain data, with the line and column of every key and value. Everything that YAML allows and
 * a settings file does not need is a mistake in words: several documents, unknown tags, one key twice.
 * Bounded: nodes, aliases, depth. No message repeats text of the file, for it may be a secret.
 */
import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  Scalar,
  type YAMLError,
  type Document as YamlDocument,
} from 'yaml';
import { above, below, error, type Mistake } from './mistake.js';
import { quoted } from './problem.js';

export interface Place {
  readonly line: number;
  readonly column: number;
}

/** A mistake with its place. */
export interface PlacedMistake extends Mistake, Place {}

/** A YAML file that could be read. */
export interface WrittenDocument {
  /** Objects, arrays and scalars; whatever stands in the file, so it may be of any shape. */
  readonly data: unknown;
  /** Mistakes of YAML that leave the data readable. */
  readonly mistakes: readonly PlacedMistake[];
  place(mistake: Mistake): PlacedMistake;
}

export type DocumentReading =
  | { readonly kind: 'document'; readonly document: WrittenDocument }
  | { readonly kind: 'empty' }
  | { readonly kind: 'broken'; readonly mistakes: readonly PlacedMistake[] };

const MAX_NODES = 20_000;
const MAX_ALIASES = 100;
const MAX_DEPTH = 50;
/** More than these in one file help nobody. */
const MAX_MISTAKES = 100;

interface Spot {
  /** Offset of the key, or of the list entry. */
  readonly key: number;
  /** Offset of the value; of the key where there is no value. */
  readonly value: number;
}

/** Never throws: what cannot be read is `broken`. */
export function readDocument(text: string): DocumentReading {
  const lines = new LineCounter();
  const placeAt = (offset: number, mistake: Mistake): PlacedMistake => {
    const { line, col } = lines.linePos(offset);
    return { ...mistake, line: Math.max(1, line), column: Math.max(1, col) };
  };
  const broken = (offset: number, message: string): DocumentReading => ({
    kind: 'broken',
    mistakes: [placeAt(offset, error('', message))],
  });
  try {
    const yaml = parseDocument(text, {
      lineCounter: lines,
      // Pretty errors quote the file.
      prettyErrors: false,
      // Compares each key with each other one; the walk below does it in one pass.
      uniqueKeys: false,
      stringKeys: true,
      schema: 'core',
      resolveKnownTags: false,
    });
    const first = yaml.errors.toSorted((a, b) => a.pos[0] - b.pos[0])[0];
    if (first !== undefined) {
      const { offset, message } = explain(first, text);
      return broken(offset, message);
    }
    if (yaml.contents === null) return { kind: 'empty' };
    const walk = new Walk(yaml);
    walk.node(yaml.contents, '', startOf(yaml.contents) ?? 0);
    if (walk.overflow !== undefined) return broken(walk.overflow.offset, walk.overflow.message);
    for (const { pos } of yaml.warnings.slice(0, MAX_MISTAKES)) {
      walk.found.push({ offset: pos[0], mistake: error('', TAG_MESSAGE) });
    }
    const data: unknown = yaml.toJS({ maxAliasCount: MAX_ALIASES });
    if (data === null) return { kind: 'empty' };
    return {
      kind: 'document',
      document: {
        data,
        mistakes: walk.found.map(({ offset, mistake }) => placeAt(offset, mistake)),
        place: (mistake) => placeAt(offsetOf(mistake, walk.spots), mistake),
      },
    };
  } catch (thrown) {
    if (thrown instanceof RangeError) return broken(0, 'the YAML is nested too deeply to be read');
    if (thrown instanceof ReferenceError) {
      return broken(0, 'the YAML refers to its own parts (&name, *name) too often; write the parts out');
    }
    return broken(0, 'the YAML cannot be read; check quotes, brackets and indentation');
  }
}

const TAG_MESSAGE = 'YAML tags (!name) have no meaning here; take the tag away, or put the text in quotes';

/** Goes through the tree once, in the order of the text: places, anchors, keys that stand twice. */
class Walk {
  readonly spots = new Map<string, Spot>();
  readonly found: { offset: number; mistake: Mistake }[] = [];
  overflow: { offset: number; message: string } | undefined;
  readonly #document: YamlDocument;
  readonly #anchors = new Set<string>();
  #nodes = 0;

  constructor(document: YamlDocument) {
    this.#document = document;
  }

  /** Returns the node, or the text that stands in for an alias without an anchor. */
  node(node: unknown, pointer: string, keyOffset: number): unknown {
    const valueOffset = startOf(node) ?? keyOffset;
    if (!this.#count(valueOffset)) return node;
    this.spots.set(pointer, { key: keyOffset, value: valueOffset });
    if (isAlias(node)) return this.#alias(node.source, node, pointer, valueOffset);
    if (!isCollection(node)) {
      if (isScalar(node) && node.anchor !== undefined) this.#anchors.add(node.anchor);
      return node;
    }
    if (pointer.split('/').length > MAX_DEPTH) {
      this.overflow = { offset: valueOffset, message: 'the YAML is nested too deeply to be read' };
      return node;
    }
    if (isMap(node)) this.#map(node.items, pointer);
    else if (isSeq(node)) {
      node.items.forEach((item, index) => {
        node.items[index] = this.node(item, below(pointer, index), startOf(item) ?? valueOffset);
      });
    }
    // Behind its content: a reference of a collection to itself is a mistake, not a circle.
    if (node.anchor !== undefined) this.#anchors.add(node.anchor);
    return node;
  }

  /** False from the moment on that there are too many. */
  #count(offset: number): boolean {
    this.#nodes += 1;
    if (this.#nodes > MAX_NODES) {
      this.overflow ??= {
        offset,
        message: `the file has more than ${MAX_NODES} keys and values; no settings of ferryd are that long`,
      };
    }
    return this.overflow === undefined;
  }

  #find(offset: number, mistake: Mistake): void {
    if (this.found.length < MAX_MISTAKES) this.found.push({ offset, mistake });
  }

  #map(items: unknown[], pointer: string): void {
    const seen = new Set<string>();
    for (const pair of items) {
      if (!isPair(pair) || !isScalar(pair.key)) continue;
      const key = String(pair.key.value ?? '');
      const keyOffset = startOf(pair.key) ?? 0;
      if (!this.#count(keyOffset)) return;
      const child = below(pointer, key);
      if (seen.has(key)) {
        const shown = holdsSecret(pointer) ? 'a key' : `the key ${quoted(key)}`;
        this.#find(
          keyOffset,
          error(holdsSecret(pointer) ? pointer : child, `${shown} stands twice; keep one of them`, 'key'),
        );
      }
      seen.add(key);
      const value = isEmpty(pair.value) ? undefined : pair.value;
      if (value === undefined) this.spots.set(child, { key: keyOffset, value: keyOffset });
      else pair.value = this.node(value, child, keyOffset);
    }
  }

  #alias(source: string, node: Node, pointer: string, offset: number): unknown {
    if (this.#anchors.has(source)) return node;
    this.#find(offset, error(pointer, ALIAS_MESSAGE));
    const text = new Scalar(`*${source}`);
    if (node.range) text.range = node.range;
    if (this.#document.contents === node) this.#document.contents = text;
    return text;
  }
}

const ALIAS_MESSAGE =
  'a text that begins with * must stand in quotes (a bare * is a reference in YAML), such as "*.gz" or "* * * * *"';

/** True below the keys whose mistaken content may be the secret itself. */
export function holdsSecret(pointer: string): boolean {
  return /\/(password|account|key|privateKey|passphrase|webhook|ping)(\/|$)/.test(pointer);
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

function isEmpty(node: unknown): boolean {
  return node === null || (isScalar(node) && node.value === null && (node.source ?? '') === '');
}

/** The nearest known place: content behind an alias has only the alias's. */
function offsetOf(mistake: Mistake, spots: ReadonlyMap<string, Spot>): number {
  if (mistake.at !== 'parent') {
    const spot = spots.get(mistake.pointer);
    if (spot !== undefined) return mistake.at === 'key' ? spot.key : spot.value;
  }
  let pointer = mistake.pointer;
  while (pointer !== '') {
    pointer = above(pointer);
    const spot = spots.get(pointer);
    if (spot !== undefined) return spot.value;
  }
  return spots.get('')?.value ?? 0;
}

/** The parser's codes in words for people; its own messages speak of tokens, and some repeat the text. */
function explain(problem: YAMLError, text: string): { offset: number; message: string } {
  const offset = problem.pos[0];
  if (problem.code === 'BAD_ALIAS' || problem.message.includes('alias')) {
    const lineStart = text.lastIndexOf('\n', Math.max(0, offset - 1)) + 1;
    const star = text.indexOf('*', lineStart);
    return { offset: star >= 0 && star < offset ? star : offset, message: ALIAS_MESSAGE };
  }
  return { offset, message: explainCode(problem) };
}

function explainCode(problem: YAMLError): string {
  switch (problem.code) {
    case 'TAB_AS_INDENT':
      return 'a tab cannot indent in YAML; use spaces';
    case 'MISSING_CHAR':
      if (problem.message.includes('quote')) return 'a quote is opened and not closed before the end';
      return 'here a sign is missing: a colon behind a key, a comma in a list, or a closing bracket';
    case 'MULTILINE_IMPLICIT_KEY':
    case 'KEY_OVER_1024_CHARS':
      return 'a line of the form "key: value" is expected here; is a colon missing, or the space behind it?';
    case 'BLOCK_AS_IMPLICIT_KEY':
      return 'a second "key: value" where a value is expected; put a text that holds ": " in quotes, or correct the indentation';
    case 'BAD_SCALAR_START':
      return 'a text that begins with @, %, ` or another special sign must stand in quotes';
    case 'BAD_INDENT':
      return 'the indentation is wrong here, or a bracket [ or { above is not closed';
    case 'BAD_DQ_ESCAPE':
      return 'an unknown \\ sequence in double quotes; write \\\\ for a backslash, or use single quotes';
    case 'UNEXPECTED_TOKEN':
      return 'something stands behind a finished value; put the whole text in quotes (a quote inside single quotes is written twice)';
    case 'MULTIPLE_DOCS':
      return 'a second document begins here (--- or ...); a file holds one, so write a file for each job';
    case 'TAG_RESOLVE_FAILED':
    case 'MULTIPLE_TAGS':
      return TAG_MESSAGE;
    case 'NON_STRING_KEY':
      return 'a key must be a plain text';
    case 'RESOURCE_EXHAUSTION':
      return 'the YAML is nested too deeply to be read';
    default:
      return `the YAML cannot be read here (${problem.code.toLowerCase().replaceAll('_', ' ')}); check quotes, brackets and indentation`;
  }
}
