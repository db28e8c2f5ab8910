/*
 * Programs, files and sources of secrets from their written form, with relative paths made absolute. Shared by
 * whatever has such keys. Reads nothing: a secret is read when it is needed (secret.ts).
 */
import { readLocalPath } from './address.js';
import type { SecretSource } from './job.js';
import { below, error, type Mistake } from './mistake.js';
import type { Written } from './schema.js';

/** Undefined where nothing is written. */
export function readSource(
  written: Written['server']['password'],
  pointer: string,
  directory: string,
  mistakes: Mistake[],
): SecretSource | undefined {
  if (written === undefined) return undefined;
  const { credential, env, file, command } = written;
  if (credential !== undefined) return { kind: 'credential', name: credential };
  if (env !== undefined) return { kind: 'env', name: env };
  if (file !== undefined) {
    return { kind: 'file', path: resolvePath(file, below(pointer, 'file'), directory, mistakes) };
  }
  if (command === undefined) return undefined;
  return { kind: 'command', argv: readProgram(command, below(pointer, 'command'), directory, mistakes) };
}

/** A program and its arguments. A bare name is looked up in PATH when it is run. */
export function readProgram(
  [program = '', ...rest]: readonly string[],
  pointer: string,
  directory: string,
  mistakes: Mistake[],
): readonly string[] {
  const programPointer = below(pointer, 0);
  if (program === '') mistakes.push(error(programPointer, 'the program of the command is empty'));
  if ([program, ...rest].some((argument) => argument.includes('\0'))) {
    mistakes.push(error(pointer, 'a command must not hold a NUL'));
  }
  const resolved =
    program === '' || !program.includes('/')
      ? program
      : resolvePath(program, programPointer, directory, mistakes);
  return [resolved, ...rest];
}

/** A local path made absolute; `''` where it cannot be. */
export function resolvePath(text: string, pointer: string, directory: string, mistakes: Mistake[]): string {
  if (text === '') {
    mistakes.push(error(pointer, 'the path is empty; write one, or take the key away'));
    return '';
  }
  const reading = readLocalPath(text, directory);
  if (reading.ok) return reading.value;
  mistakes.push(error(pointer, reading.wrong));
  return '';
}
