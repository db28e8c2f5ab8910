/*
 * A mistake before it has a line and a column: JSON pointers into what a person wrote, and where on the key it is
 * to be shown. document.ts knows the places.
 */
import type { Problem } from './problem.js';

export interface Mistake {
  readonly severity: Problem['severity'];
  /** JSON pointer of the key that the sentence is about. */
  readonly pointer: string;
  /** Show the key itself, its value, or what it is missing from. */
  readonly at: 'key' | 'value' | 'parent';
  readonly message: string;
}

export function error(pointer: string, message: string, at: Mistake['at'] = 'value'): Mistake {
  return { severity: 'error', pointer, at, message };
}

export function warning(pointer: string, message: string): Mistake {
  return { severity: 'warning', pointer, at: 'value', message };
}

/** The pointer one step down. */
export function below(pointer: string, key: string | number): string {
  return `${pointer}/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

/** The pointer one step up; `''` stays. */
export function above(pointer: string): string {
  return pointer.slice(0, Math.max(0, pointer.lastIndexOf('/')));
}

/** The unescaped steps of a pointer. */
export function steps(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
}
