/*
 * The body of NLST (RFC 959 section 4.1.3): one name a line, and nothing that would tell a whole list from a cut one
 * but the last line's end. Pure. Some servers write the directory they were asked for in front of each name, since
 * RFC 1123 section 4.1.2.7 wants names that can be used at once. Does not tell files from directories.
 */
import type { Charset } from '../charset.js';

/** What a list of names says. */
export interface NameList {
  /** In the server's order; undecodable ones as shown. `.` and `..` may be among them. */
  readonly names: readonly string[];
  /** True where bytes stood behind the last line end: part of a name, or one that was to be the last. */
  readonly cut: boolean;
}

/**
 * Reads the body of an NLST transfer.
 *
 * @param directory the path that was asked for; undefined for the directory that the session is in
 */
export function parseNames(body: Buffer, charset: Charset, directory: string | undefined): NameList {
  const end = body.lastIndexOf('\n') + 1;
  const lines = body.toString('latin1', 0, end).split('\n');
  const ended = lines.filter((line) => line.endsWith('\r')).length * 2 >= lines.length - 1;
  const names = lines
    .map((line) => (ended && line.endsWith('\r') ? line.slice(0, -1) : line))
    .filter((line) => line !== '')
    .map((line) => {
      const bytes = Buffer.from(line, 'latin1');
      return withoutDirectory(charset.decode(bytes) ?? charset.show(bytes), directory);
    });
  return { names, cut: end < body.length };
}

/** Only what was asked for is taken off: behind another directory stands the name of something else. */
function withoutDirectory(name: string, directory: string | undefined): string {
  const asked = directory === undefined ? './' : `${directory.replace(/\/+$/, '')}/`;
  const front = [asked, './'].find((path) => name.startsWith(path) && name.length > path.length);
  return front === undefined ? name : name.slice(front.length);
}
