/* How a file gets its final name over SFTP: in one step where the server replaces, by a guarded exchange where not. */
import { rmSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isTemporary } from '../../src/plan/temporary.js';
import { judge } from '../../src/remote/failure.js';
import type { Trials } from '../../src/remote/remote.js';
import { deliveryOf, sourceOf } from './contract.js';
import { SftpBerth, type SftpBerthOptions } from './sftp-berth.js';

const POSIX = 'posix-rename@openssh.com';
const without: SftpBerthOptions = { server: { extensions: { [POSIX]: false } } };

/** What is written down of trials, in order. */
class Book implements Trials {
  readonly lines: string[] = [];
  readonly #open = new Set<string>();

  begin(path: string): void {
    this.lines.push(`begin ${path}`);
    this.#open.add(path);
  }

  end(path: string): void {
    this.lines.push(`end ${path}`);
    this.#open.delete(path);
  }

  get open(): readonly string[] {
    return [...this.#open];
  }
}

const root = { path: 'dumps', absolute: false };

async function textOf(berth: SftpBerth, path: string): Promise<string> {
  return String(await readFile(join(berth.disk, path)));
}

async function failureOf(work: Promise<unknown>): Promise<ReturnType<typeof judge>> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  );
  return judge(error);
}

describe('without posix-rename', () => {
  test('a new file takes one RENAME; over an old one that goes out of the way and away', async () => {
    await using berth = await SftpBerth.open(without);
    const book = new Book();
    const remote = berth.account.remote(root, book);
    await remote.deliver(deliveryOf('file', sourceOf('old')));
    expect(berth.server.journal.of('RENAME')).toHaveLength(1);
    expect(book.lines).toEqual([]);

    for (const content of ['new', 'newer']) {
      await remote.deliver(deliveryOf('file', sourceOf(content)));
      expect(await textOf(berth, 'file')).toBe(content);
      expect(await readdir(berth.disk)).toEqual(['file']);
      expect(book.open).toEqual([]);
    }
    expect(book.lines).toHaveLength(4);
    const [, , away, into] = berth.server.journal.of('RENAME');
    expect(away?.packet).toBe(into?.packet);
    expect(isTemporary(away?.toPath ?? '')).toBe(true);
    // Told once.
    expect(berth.learned.filter((sentence) => sentence.includes('does not rename onto'))).toHaveLength(1);
  });

  test('the second rename is refused: the old file comes back', async () => {
    await using berth = await SftpBerth.open(without);
    const book = new Book();
    const remote = berth.account.remote(root, book);
    await remote.deliver(deliveryOf('file', sourceOf('old')));
    const delivery = deliveryOf('file', sourceOf('new'));
    berth.server.script({
      on: 'RENAME',
      path: `**/${delivery.temporary}`,
      nth: 'every',
      do: { kind: 'status', code: 4 },
    });
    await expect(remote.deliver(delivery)).rejects.toThrow();
    expect(await textOf(berth, 'file')).toBe('old');
    expect((await readdir(berth.disk)).sort()).toEqual([delivery.temporary, 'file'].sort());
    expect(book.open).toEqual([]);
  });

  test('the connection is lost between the two: both files are there still, and what lies aside is written down', async () => {
    await using berth = await SftpBerth.open(without);
    const book = new Book();
    const remote = berth.account.remote(root, book);
    await remote.deliver(deliveryOf('file', sourceOf('old')));
    const delivery = deliveryOf('file', sourceOf('new'));
    berth.server.script({
      on: 'RENAME',
      path: '**/dumps/file',
      do: { kind: 'end', how: 'reset', at: 'final' },
    });
    const failure = await failureOf(remote.deliver(delivery));
    expect(failure.decision).toBe('reconnect');
    expect(book.open).toHaveLength(1);
    const contents = await Promise.all((await readdir(berth.disk)).map((name) => textOf(berth, name)));
    expect(contents.sort()).toEqual(['new', 'old']);
    // The next attempt brings it to its end.
    await remote.deliver({ ...delivery, part: 'possible' });
    expect(await textOf(berth, 'file')).toBe('new');
  });

  test('the old file may not be moved: it stands, and so does the error', async () => {
    await using berth = await SftpBerth.open(without);
    const book = new Book();
    const remote = berth.account.remote(root, book);
    await remote.deliver(deliveryOf('file', sourceOf('old')));
    berth.server.script({
      on: 'RENAME',
      path: '**/dumps/file',
      nth: 'every',
      do: { kind: 'status', code: 3 },
    });
    await expect(remote.deliver(deliveryOf('file', sourceOf('new')))).rejects.toThrow();
    expect(await textOf(berth, 'file')).toBe('old');
    expect(book.open).toEqual([]);
  });
});

describe('posix-rename', () => {
  test('that is listed and not there: RENAME is taken from then on', async () => {
    await using berth = await SftpBerth.open();
    berth.server.script({ on: POSIX, nth: 'every', do: { kind: 'status', code: 8 } });
    for (const content of ['a', 'b', 'c']) {
      await berth.remote.deliver(deliveryOf('file', sourceOf(content)));
      expect(await textOf(berth, 'file')).toBe(content);
    }
    expect(berth.server.journal.of(POSIX)).toHaveLength(1);
    expect(await readdir(berth.disk)).toEqual(['file']);
  });

  test('that refuses to replace: the exchange', async () => {
    await using berth = await SftpBerth.open();
    await berth.remote.deliver(deliveryOf('file', sourceOf('old')));
    berth.server.script({ on: POSIX, nth: 'every', do: { kind: 'status', code: 4 } });
    await berth.remote.deliver(deliveryOf('file', sourceOf('new')));
    expect(await textOf(berth, 'file')).toBe('new');
    expect(await readdir(berth.disk)).toEqual(['file']);
  });

  test('refused in words and done all the same: the file is there', async () => {
    await using berth = await SftpBerth.open();
    await berth.remote.deliver(deliveryOf('file', sourceOf('old')));
    berth.server.script({ on: POSIX, do: { kind: 'status', code: 4, at: 'final' } });
    const delivered = await berth.remote.deliver(deliveryOf('file', sourceOf('new')));
    expect(delivered.bytes).toBe(3);
    expect(await textOf(berth, 'file')).toBe('new');
  });

  test('the temporary file is gone and the final one another: nobody knows, the next attempt looks', async () => {
    await using berth = await SftpBerth.open();
    await berth.remote.deliver(deliveryOf('file', sourceOf('old')));
    const delivery = deliveryOf('file', sourceOf('new'));
    berth.server.script({ on: POSIX, nth: 1, do: { kind: 'status', code: 2 } });
    // Somebody clears the directory up meanwhile.
    berth.server.on('request', ({ name }) => {
      if (name === POSIX) rmSync(join(berth.disk, delivery.temporary), { force: true });
    });
    const failure = await failureOf(berth.remote.deliver(delivery));
    expect(failure.decision).toBe('reconnect');
    expect(await textOf(berth, 'file')).toBe('old');
  });

  test('a connection that is lost in it leaves one of the two, whole', async () => {
    for (const at of ['start', 'final'] as const) {
      await using berth = await SftpBerth.open();
      await berth.remote.deliver(deliveryOf('file', sourceOf('old')));
      const delivery = deliveryOf('file', sourceOf('new'));
      berth.server.script({ on: POSIX, do: { kind: 'end', how: 'reset', at } });
      expect((await failureOf(berth.remote.deliver(delivery))).decision).toBe('reconnect');
      expect(await textOf(berth, 'file')).toBe(at === 'start' ? 'old' : 'new');
    }
  });
});

describe('a server that renames nothing', () => {
  test.each([3, 8])('(status %i) gets files under their final names, and is told so once', async (code) => {
    await using berth = await SftpBerth.open();
    const book = new Book();
    const remote = berth.account.remote(root, book);
    for (const on of [POSIX, 'RENAME'])
      berth.server.script({ on, nth: 'every', do: { kind: 'status', code } });
    expect(await failureOf(remote.deliver(deliveryOf('file', sourceOf('a'))))).toMatchObject({
      decision: 'retry',
      code: 'TEMPORARY',
    });
    expect(remote.temporaryForm).toBe('none');
    expect(await readdir(berth.disk)).toEqual([]);
    expect(book.open).toEqual([]);
    for (const content of ['a longer one', 'b']) {
      await remote.deliver({ ...deliveryOf('file', sourceOf(content)), temporary: 'file' });
      expect(await textOf(berth, 'file')).toBe(content);
    }
    // What would be written over cannot be moved aside.
    const aside = { ...deliveryOf('file', sourceOf('c')), temporary: 'file', aside: 'trash/file' };
    expect(await failureOf(remote.deliver(aside))).toMatchObject({ decision: 'skip', code: 'MOVE' });
    expect(await textOf(berth, 'file')).toBe('b');
    // A link in its place is not written through.
    await writeFile(join(berth.disk, 'victim'), 'precious');
    await symlink('victim', join(berth.disk, 'linked'));
    await remote.deliver({ ...deliveryOf('linked', sourceOf('d')), temporary: 'linked' });
    expect(await textOf(berth, 'victim')).toBe('precious');
    expect(await textOf(berth, 'linked')).toBe('d');
    expect(berth.learned.filter((sentence) => sentence.includes('cannot rename'))).toHaveLength(1);
  });

  test('one file that may not be renamed is no reason to say so', async () => {
    await using berth = await SftpBerth.open();
    const delivery = deliveryOf('file', sourceOf('a'));
    berth.server.script({ on: POSIX, path: `**/${delivery.temporary}`, do: { kind: 'status', code: 3 } });
    expect((await failureOf(berth.remote.deliver(delivery))).decision).toBe('skip');
    expect(berth.remote.temporaryForm).toBe('hidden');
    // The part is where it was.
    expect(await readdir(berth.disk)).toEqual([delivery.temporary]);
  });
});

describe('moves', () => {
  test('a file that cannot be linked is renamed in the other way, and replaces nothing', async () => {
    await using berth = await SftpBerth.open();
    await writeFile(join(berth.disk, 'file'), 'x');
    berth.server.script({ on: 'RENAME', nth: 'every', do: { kind: 'status', code: 3 } });
    expect(await berth.remote.move('file', 'other')).toBe('moved');
    expect(await textOf(berth, 'other')).toBe('x');
    await writeFile(join(berth.disk, 'file'), 'y');
    expect(await berth.remote.move('file', 'other')).toBe('occupied');
    expect(await textOf(berth, 'other')).toBe('x');
  });

  test('a server that refuses for good: neither place is changed, and it says what to do', async () => {
    await using berth = await SftpBerth.open();
    await writeFile(join(berth.disk, 'file'), 'x');
    for (const on of [POSIX, 'RENAME'])
      berth.server.script({ on, nth: 'every', do: { kind: 'status', code: 4 } });
    const failure = await failureOf(berth.remote.move('file', 'trash/file'));
    expect(failure).toMatchObject({ decision: 'skip', code: 'MOVE' });
    expect(failure.message).toContain('deletes: { policy: delete }');
    expect(await textOf(berth, 'file')).toBe('x');
  });

  test('an answer that was lost: it is looked, on another connection, what was done', async () => {
    for (const at of ['start', 'final'] as const) {
      await using berth = await SftpBerth.open();
      await writeFile(join(berth.disk, 'file'), 'x');
      berth.server.script({ on: 'RENAME', do: { kind: 'end', how: 'reset', at } });
      const moving = berth.remote.move('file', 'other');
      if (at === 'final') expect(await moving).toBe('moved');
      else expect((await failureOf(moving)).decision).toBe('reconnect');
      expect(await readdir(berth.disk)).toEqual([at === 'final' ? 'other' : 'file']);
    }
  });

  test('a link is moved itself', async () => {
    await using berth = await SftpBerth.open();
    await mkdir(join(berth.disk, 'sub'));
    await symlink('nowhere', join(berth.disk, 'link'));
    expect(await berth.remote.move('link', 'sub/link')).toBe('moved');
    expect(await berth.remote.links?.read('sub/link')).toBe('nowhere');
  });
});

describe('what stands there is moved aside', () => {
  test('and comes back where the new file is refused', async () => {
    await using berth = await SftpBerth.open();
    await writeFile(join(berth.disk, 'file'), 'old');
    const delivery = { ...deliveryOf('file', sourceOf('new')), aside: 'trash/file' };
    for (const on of [POSIX, 'RENAME'])
      berth.server.script({
        on,
        path: `**/${delivery.temporary}`,
        nth: 'every',
        do: { kind: 'status', code: 4 },
      });
    await expect(berth.remote.deliver(delivery)).rejects.toThrow();
    expect(await textOf(berth, 'file')).toBe('old');
    expect(await readdir(join(berth.disk, 'trash'))).toEqual([]);
  });

  test('something that came to stand there since it was looked is not overwritten', async () => {
    await using berth = await SftpBerth.open();
    await mkdir(join(berth.disk, 'trash'));
    const delivery = { ...deliveryOf('file', sourceOf('new')), aside: 'trash/file' };
    const stop = berth.server.on('request', ({ name, path }) => {
      if (name !== 'RENAME' || path?.endsWith(delivery.temporary) !== true) return;
      stop();
      writeFileSync(join(berth.disk, 'file'), 'meanwhile');
    });
    expect(await berth.remote.deliver(delivery)).toMatchObject({ setAside: true });
    expect(await textOf(berth, 'file')).toBe('new');
    expect(await textOf(berth, 'trash/file')).toBe('meanwhile');
  });
});

describe('links', () => {
  test('are made, read back, published over files and links, and read', async () => {
    await using berth = await SftpBerth.open();
    const links = berth.remote.links;
    if (links === undefined) throw new Error('no links');
    await writeFile(join(berth.disk, 'taken'), 'a file');
    await symlink('older', join(berth.disk, 'older link'));
    const make = async (path: string, leadsTo: string): Promise<void> => {
      const { temporary } = deliveryOf(path, sourceOf(''));
      expect(await links.make({ path, temporary, leadsTo })).toEqual({ setAside: false });
      expect(await links.read(path)).toBe(leadsTo);
    };
    await make('new/deep/link', '../../ä b/nowhere');
    await make('taken', '/absolute');
    await make('older link', 'newer');
    const listing = await berth.remote.list('', { links: 'told' });
    expect([...(listing.links ?? [])].sort((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
      { path: 'older link', leadsTo: 'newer' },
      { path: 'taken', leadsTo: '/absolute' },
    ]);
    expect(listing.others).toEqual([]);
    expect((await berth.remote.list('')).others.length).toBe(2);
    expect(await links.read('nothing')).toBeUndefined();
    await mkdir(join(berth.disk, 'directory'));
    expect(await links.read('directory')).toBeUndefined();
    const { temporary } = deliveryOf('directory', sourceOf(''));
    await expect(links.make({ path: 'directory', temporary, leadsTo: 'x' })).rejects.toThrow(
      'a directory called',
    );
  });

  test('move aside what stands there', async () => {
    await using berth = await SftpBerth.open();
    await writeFile(join(berth.disk, 'file'), 'old');
    const { temporary } = deliveryOf('file', sourceOf(''));
    const made = await berth.remote.links?.make({
      path: 'file',
      temporary,
      leadsTo: 'x',
      aside: 'trash/file',
    });
    expect(made).toEqual({ setAside: true });
    expect(await textOf(berth, 'trash/file')).toBe('old');
    expect(await berth.remote.links?.read('file')).toBe('x');
  });

  test('on a server that has none, or tells none, cannot be made, and nothing of it stays', async () => {
    for (const [options, fault] of [
      [{ server: { symlink: 'unsupported' } }, undefined],
      [{}, { on: 'READLINK', nth: 'every', do: { kind: 'status', code: 3 } }],
    ] as const) {
      await using berth = await SftpBerth.open(options);
      if (fault !== undefined) berth.server.script(fault);
      const { temporary } = deliveryOf('link', sourceOf(''));
      const making = { path: 'link', temporary, leadsTo: 'x' };
      await expect(berth.remote.links?.make(making)).rejects.toMatchObject({ name: 'LinkImpossible' });
      expect(await readdir(berth.disk)).toEqual([]);
    }
  });
});
