/*
 * Lets a test run our own modules in another process, to kill it or to compete with it. Node 20 cannot read
 * TypeScript, so the folders that the ledger needs are stripped of their types into a temporary directory.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import ts from 'typescript';

/** Makes `directory` a place where a child can import `./src/ledger/*.js`. */
export function compileLedger(directory: string): void {
  for (const folder of ['src/ledger', 'src/plan']) {
    mkdirSync(join(directory, folder), { recursive: true });
    for (const name of readdirSync(folder)) {
      const { outputText } = ts.transpileModule(readFileSync(join(folder, name), 'utf8'), {
        compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
      });
      writeFileSync(join(directory, folder, name.replace(/\.ts$/, '.js')), outputText);
    }
  }
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  symlinkSync(resolve('node_modules'), join(directory, 'node_modules'), 'dir');
}

export interface Child {
  /** The next line that the child prints; rejects, with what it said on standard error, where it ends instead. */
  line(): Promise<string>;
  write(line: string): void;
  /** Ends it (SIGKILL unless told otherwise) and waits for that. */
  end(signal?: NodeJS.Signals): Promise<void>;
  /** Waits until it ends by itself; returns its exit code. */
  ended(): Promise<number | null>;
}

let started = 0;

/** Starts `script` (an ES module) with `directory` as its home. */
export function startChild(directory: string, script: string, args: readonly string[] = []): Child {
  // One file each: a child may be reading its own when the next is started.
  started += 1;
  const file = join(directory, `child-${started}.mjs`);
  writeFileSync(file, script);
  const child: ChildProcess = spawn(process.execPath, [file, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  if (child.stdout === null || child.stdin === null || child.stderr === null) throw new Error('no pipes');
  const { stdin } = child;
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const exit = new Promise<number | null>((done) => child.once('close', (code) => done(code)));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    line: async () => {
      const next = await lines.next();
      if (next.done === true) throw new Error(`the child ended (${await exit}): ${complaint}`);
      return next.value;
    },
    write: (line) => {
      stdin.write(`${line}\n`);
    },
    end: async (signal = 'SIGKILL') => {
      child.kill(signal);
      await exit;
    },
    ended: () => exit,
  };
}
