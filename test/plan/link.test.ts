/* Where links lead as far as their text tells, and which paths lie behind links that were come by. */
import { posix } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { comparePaths } from '../../src/plan/entry.js';
import { LinksPassed, leadOf } from '../../src/plan/link.js';

describe('leadOf', () => {
  it.each([
    ['l', 'x', 'inside'],
    ['l', '.', 'inside'],
    ['l', './x//y/', 'inside'],
    ['l', '..', 'outside'],
    ['l', '../x', 'outside'],
    ['d/l', '..', 'inside'],
    ['d/l', '../x', 'inside'],
    ['d/l', '../..', 'outside'],
    ['d/e/l', '../.././../x', 'outside'],
    ['l', '/', 'outside'],
    ['l', '/x', 'outside'],
    ['l', '..x', 'inside'],
    ['l', '...', 'inside'],
    ['l', 'x/..', 'unsure'],
    ['d/l', 'x/../y', 'unsure'],
    ['d/l', '../x/../y', 'unsure'],
    ['l', 'x/../../y', 'outside'],
    ['l', 'a\\..\\..\\b', 'inside'],
  ] as const)('%s -> %s: %s', (path, leadsTo, lead) => {
    expect(leadOf(path, leadsTo)).toBe(lead);
  });

  const name = fc.constantFrom('a', 'b', '..', '..', '.', '');
  const text = fc.array(name, { minLength: 1, maxLength: 6 }).map((names) => names.join('/'));
  const path = fc
    .array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 4 })
    .map((names) => names.join('/'));

  it('says outside of whatever the path comes to out of the root', () => {
    fc.assert(
      fc.property(path, text, (link, leadsTo) => {
        const comesTo = posix.normalize(posix.join('/r', posix.dirname(link), leadsTo));
        const isAbove = comesTo !== '/r' && !comesTo.startsWith('/r/');
        if (leadsTo.startsWith('/') || isAbove) expect(leadOf(link, leadsTo)).toBe('outside');
      }),
    );
  });

  it('no chain of links that lead inside comes out of the root, wherever one begins', () => {
    const links = fc.dictionary(path, text, { maxKeys: 8 });
    fc.assert(
      fc.property(links, text, (all, wish) => {
        const inside = new Map(
          Object.entries(all).filter(([at, leadsTo]) => leadOf(at, leadsTo) === 'inside'),
        );
        // No link lies below another one: its parents are directories.
        for (const at of inside.keys()) {
          for (const other of inside.keys()) if (at.startsWith(`${other}/`)) inside.delete(at);
        }
        fc.pre(leadOf('l', wish) === 'inside');
        expect(resolves(wish, inside)).not.toBe('out');
      }),
      { numRuns: 2000 },
    );
  });

  /** As a kernel does it, from the root: `..` goes up from where one really is. */
  function resolves(text: string, links: ReadonlyMap<string, string>): 'out' | 'in' | 'circle' {
    const here: string[] = [];
    const ahead = text.split('/');
    for (let steps = 0; ahead.length > 0; steps += 1) {
      if (steps > 200) return 'circle';
      const next = ahead.shift();
      if (next === undefined || next === '' || next === '.') continue;
      if (next === '..') {
        if (here.length === 0) return 'out';
        here.pop();
        continue;
      }
      const leadsTo = links.get([...here, next].join('/'));
      if (leadsTo === undefined) here.push(next);
      else ahead.unshift(...leadsTo.split('/'));
    }
    return 'in';
  }
});

describe('LinksPassed', () => {
  it('knows of each path whether it lies behind one, in the order of the paths', () => {
    const segment = fc.constantFrom('a', 'a-', 'a b', 'a!', 'a0', 'b', 'é');
    const some = fc.array(segment, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
    fc.assert(
      fc.property(fc.uniqueArray(some), fc.uniqueArray(some), (links, asked) => {
        const passed = new LinksPassed();
        for (const path of [...new Set([...links, ...asked])].sort(comparePaths)) {
          if (links.includes(path)) passed.note(path);
          const behind = links.some((link) => path.startsWith(`${link}/`));
          expect(passed.above(path) !== undefined, path).toBe(behind);
        }
      }),
    );
  });
});
