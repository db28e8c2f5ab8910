/*
 * A program of ours and all that it imports from us in one file that Node can run: stripped of its types, each module a
 * function. Hundreds of processes are started in a sweep, and each would load more than a hundred modules one by one,
 * which costs more than all that it does. What comes from packages and from Node is loaded as ever.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';

const compilerOptions = {
  module: ts.ModuleKind.CommonJS,
  target: ts.ScriptTarget.ES2023,
  esModuleInterop: true,
};

/** How a module asks for another one of ours. */
const OWN = /\brequire\(["'](\.{1,2}\/[^"']+)\.js["']\)/g;

/**
 * @param entry path of a TypeScript module without `await` at its top
 * @returns a CommonJS script
 */
export function bundle(entry: string): string {
  const modules = new Map<string, string>();
  const add = (file: string): void => {
    if (modules.has(file)) return;
    modules.set(file, '');
    const { outputText } = ts.transpileModule(readFileSync(file, 'utf8'), { compilerOptions });
    const text = outputText.replace(OWN, (_, path: string) => {
      const other = resolve(dirname(file), `${path}.ts`);
      add(other);
      return `own(${JSON.stringify(other)})`;
    });
    // There is no import.meta in what is no module.
    modules.set(file, text.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(file).href)));
  };
  add(resolve(entry));
  const functions = [...modules].map(
    ([file, text]) => `${JSON.stringify(file)}: function (exports, require, own) {${text}\n}`,
  );
  return `'use strict';
const modules = {${functions.join(',\n')}};
const loaded = {};
const own = (file) => {
  if (loaded[file] === undefined) modules[file](loaded[file] = {}, require, own);
  return loaded[file];
};
own(${JSON.stringify(resolve(entry))});
`;
}
