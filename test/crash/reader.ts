/*
 * The reader: a process that looks at both sides all the time, as anybody might who uses the files, and says so where
 * something stands under a final name that is neither the whole old nor the whole new content. What is in the trash
 * has to be whole too. Names that are known as temporary are passed over; any other that nobody expects is told.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { isTemporary } from '../../src/plan/temporary.js';

export type Request =
  | {
      readonly kind: 'watch';
      readonly id: string;
      readonly roots: readonly string[];
      /** SHA-256 of the contents that a path may have, by the path that it would have without a run of ours. */
      readonly whole: Readonly<Record<string, readonly string[]>>;
    }
  | { readonly kind: 'leave'; readonly id: string };

/** Printed when a watch is left. */
export interface Seen {
  readonly id: string;
  /** How often both sides were looked at. */
  readonly looks: number;
  readonly files: number;
  readonly wrong: readonly string[];
}

interface Watch {
  readonly request: Extract<Request, { kind: 'watch' }>;
  looks: number;
  files: number;
  readonly wrong: Set<string>;
}

/** Between two looks: often enough to see what stands for a moment, and no load to speak of. */
const PAUSE_MS = 2;

const watches = new Map<string, Watch>();
let timer: NodeJS.Timeout | undefined;

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const request = JSON.parse(line) as Request;
    if (request.kind === 'watch') {
      watches.set(request.id, { request, looks: 0, files: 0, wrong: new Set() });
      timer ??= setTimeout(lookAround, PAUSE_MS);
      return;
    }
    const watch = watches.get(request.id);
    if (watch === undefined) throw new Error(`nobody watches ${request.id}`);
    look(watch);
    watches.delete(request.id);
    const { looks, files, wrong } = watch;
    const seen: Seen = { id: request.id, looks, files, wrong: [...wrong] };
    process.stdout.write(`${JSON.stringify(seen)}\n`);
  })
  .on('close', () => clearTimeout(timer));

function lookAround(): void {
  for (const watch of watches.values()) look(watch);
  timer = watches.size === 0 ? undefined : setTimeout(lookAround, PAUSE_MS);
}

function look(watch: Watch): void {
  watch.looks += 1;
  for (const root of watch.request.roots) lookIn(watch, root, '');
}

function lookIn(watch: Watch, root: string, directory: string): void {
  for (const entry of entriesOf(`${root}/${directory}`)) {
    const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
    if (isTemporary(path)) continue;
    if (entry.isDirectory()) lookIn(watch, root, path);
    else judge(watch, root, path);
  }
}

function judge(watch: Watch, root: string, path: string): void {
  const content = contentOf(`${root}/${path}`);
  if (content === undefined) return;
  watch.files += 1;
  const allowed = watch.request.whole[originalOf(path)];
  if (allowed === undefined) watch.wrong.add(`${root}/${path} should not be there`);
  else if (!allowed.includes(createHash('sha256').update(content).digest('hex')))
    watch.wrong.add(`${root}/${path} was seen with ${content.length} bytes that are no whole content of it`);
}

/** Without the trash's date, and without the mark of a conflict. */
function originalOf(path: string): string {
  return path
    .replace(/^\.ferryd-trash\/\d{8}T\d{6}Z\//, '')
    .replace(/\.conflict-\d{8}-\d{6}(\.[^./]+)?$/, '$1');
}

/** It may go while it is looked at. */
function entriesOf(directory: string) {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch {
    return [];
  }
}

function contentOf(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}
