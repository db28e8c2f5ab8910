/*
 * What real servers send for one directory full of odd names: every line ends with CR LF, and each name is either
 * exactly the one on disk or told apart as unusable.
 */
import { mkdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { UTF_8 } from '../../src/ftp/charset.js';
import {
  type ListedEntry,
  parseListing,
  parseMachineEntry,
  parseMachineListing,
} from '../../src/ftp/listing.js';
import { RawClient } from '../support/raw-client.js';
import { describeReal, type RealServer, type ServerName } from '../support/real-server.js';
import { startProftpd } from '../support/servers/proftpd.js';
import { startPureFtpd } from '../support/servers/pure-ftpd.js';
import { startPyftpdlib } from '../support/servers/pyftpdlib.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.js';

interface Harness {
  readonly name: ServerName;
  start(options: { readonly root: string }): Promise<RealServer>;
  /** Of the impossible names, one character a byte, those that the server shows as they are. */
  readonly shows: readonly string[];
  /** What it shows for others that it cannot show: other names, which nobody can tell from real ones. */
  readonly disguised: readonly string[];
  /** What a link is in MLSD, and whether one that leads nowhere is shown; undefined where there is no MLSD. */
  readonly machine: { readonly link: ListedEntry['type']; readonly dangling: readonly string[] } | undefined;
}

const plain = ['plain', ' leads', 'trails ', 'in  side', 'a -> b', 'semi; x', 'Füße 日本', '+r,s5,', 'old'];
const impossible = ['line\nfeed', 'end\r', 'esc\x1b', 'back\\slash', 'mark\xef\xbf\xbd', 'latin\xff'];
const controls = impossible.slice(0, 3);
const OLD_S = 1_600_000_000;

const harnesses: readonly Harness[] = [
  { name: 'vsftpd', start: startVsftpd, shows: impossible, disguised: [], machine: undefined },
  {
    name: 'proftpd',
    start: startProftpd,
    shows: impossible,
    disguised: [],
    machine: { link: 'link', dangling: [] },
  },
  {
    // It leaves names with control characters out without a word.
    name: 'pure-ftpd',
    start: startPureFtpd,
    shows: impossible.filter((name) => !controls.includes(name)),
    disguised: [],
    machine: { link: 'link', dangling: ['arrow -> link'] },
  },
  {
    // It puts a question mark for what is no UTF-8, and looks through links.
    name: 'pyftpdlib',
    start: startPyftpdlib,
    shows: impossible.slice(0, -1),
    disguised: ['latin?'],
    machine: { link: 'file', dangling: [] },
  },
];

/** The directory on disk. */
async function oddDirectory(): Promise<TemporaryDirectory> {
  const directory = await temporaryDirectory('root');
  const onDisk = (name: Buffer): Buffer => Buffer.concat([Buffer.from(`${directory.path}/`), name]);
  for (const name of plain) await writeFile(onDisk(Buffer.from(name)), 'content');
  for (const name of impossible) await writeFile(onDisk(Buffer.from(name, 'latin1')), 'content');
  await utimes(directory.join('old'), OLD_S, OLD_S);
  await mkdir(directory.join('sub'), { mode: 0o755 });
  await symlink('plain', directory.join('link'));
  await symlink('to -> where', directory.join('arrow -> link'));
  return directory;
}

const named = (entries: readonly ListedEntry[], name: string): ListedEntry | undefined =>
  entries.find((entry) => entry.name === name);

for (const harness of harnesses) {
  describeReal(harness.name, `listings of ${harness.name}`, () => {
    test('LIST, MLSD and MLST of odd names', async () => {
      await using directory = await oddDirectory();
      await using server = await harness.start({ root: directory.path });
      await server.adopt();
      await using client = await RawClient.open(server.port, { host: server.host });
      await client.login(server.user, server.password);
      const names = [...plain, ...harness.disguised, 'sub', 'arrow -> link'];

      const list = (await client.download('LIST')).content;
      const listing = parseListing(list, UTF_8, { nowMs: Date.now() });
      expect(list.toString('latin1')).toMatch(/\r\n$/);
      expect(listing).toMatchObject({ form: 'unix', unreadable: 0 });
      expect(listing.entries.map(({ name }) => name).sort()).toEqual([...names, 'link'].sort());
      expect(listing.unusable.map(({ bytes }) => bytes.toString('latin1')).sort()).toEqual(
        [...harness.shows].sort(),
      );
      expect(named(listing.entries, 'old')).toMatchObject({
        type: 'file',
        sizeBytes: 7,
        modifiedMs: undefined,
        listed: { localMs: Date.UTC(2020, 8, 13), precision: 'day' },
      });
      const fresh = named(listing.entries, 'plain')?.listed;
      expect(fresh?.precision).toBe('minute');
      expect(Math.abs(Date.now() - (fresh?.localMs ?? 0))).toBeLessThan(86_400_000);
      expect(named(listing.entries, 'sub')).toMatchObject({ type: 'directory', permissions: 0o755 });
      expect(named(listing.entries, 'link')).toMatchObject({ type: 'link', linkTarget: 'plain' });
      expect(named(listing.entries, 'arrow -> link')).toMatchObject({
        type: 'link',
        linkTarget: 'to -> where',
      });

      if (harness.machine === undefined) return;
      const mlsd = (await client.download('MLSD')).content;
      const machine = parseMachineListing(mlsd);
      expect(mlsd.toString('latin1')).toMatch(/\r\n$/);
      expect(machine).toMatchObject({ form: 'MLSD', unreadable: 0 });
      expect(machine.entries.map(({ name }) => name).sort()).toEqual(
        [...plain, ...harness.disguised, 'sub', 'link', ...harness.machine.dangling].sort(),
      );
      expect(machine.unusable).toHaveLength(harness.shows.length);
      expect(named(machine.entries, 'link')?.type).toBe(harness.machine.link);
      expect(named(machine.entries, 'sub')?.type).toBe('directory');
      expect(named(machine.entries, 'old')).toMatchObject({ sizeBytes: 7, modifiedMs: OLD_S * 1000 });

      const [, line = ''] = (await client.command('MLST old')).split('\r\n');
      expect(parseMachineEntry(line)).toMatchObject({
        type: 'file',
        sizeBytes: 7,
        modifiedMs: OLD_S * 1000,
        name: expect.stringMatching(/(?:^|\/)old$/),
      });
    });
  });
}
