/* What the tests of listings share: whole bodies, expected entries, and the laws that every listing obeys. */
import { expect } from 'vitest';
import { type Charset, UTF_8 } from '../../src/ftp/charset.js';
import { type ListedEntry, type Listing, parseListing, parseMachineListing } from '../../src/ftp/listing.js';

/** Monday, 23 November 2026, noon. */
export const NOW_MS = Date.UTC(2026, 10, 23, 12);

export function bodyOf(lines: readonly string[], lineEnd: '\r\n' | '\n' = '\r\n'): Buffer {
  return Buffer.from(lines.map((line) => `${line}${lineEnd}`).join(''));
}

export function mlsd(...lines: string[]): Listing {
  return parseMachineListing(bodyOf(lines));
}

export function list(...lines: string[]): Listing {
  return parseListing(bodyOf(lines), UTF_8, { nowMs: NOW_MS });
}

/** An entry of which the listing tells nothing but what is given here. */
export function entry(
  name: string,
  type: ListedEntry['type'],
  sizeBytes: number | undefined,
  told: Partial<ListedEntry> = {},
): ListedEntry {
  return {
    name,
    bytes: Buffer.from(name),
    type,
    sizeBytes,
    modifiedMs: undefined,
    listed: undefined,
    permissions: undefined,
    linkTarget: undefined,
    ...told,
  };
}

/** LIST's own time, from `2026-11-23`, `2026-11-23T12:26` or `2026-11-23T12:26:40`. */
export function at(wallClock: string): NonNullable<ListedEntry['listed']> {
  const precision = wallClock.length === 10 ? 'day' : wallClock.length === 16 ? 'minute' : 'second';
  return { localMs: Date.parse(`${wallClock}${precision === 'day' ? 'T00:00' : ''}Z`), precision };
}

/** What holds for every listing, whatever bytes it was read from. */
export function expectLawful(listing: Listing, body: Buffer, charset: Charset = UTF_8): void {
  const names = new Set<string>();
  for (const { name, bytes, sizeBytes, modifiedMs, listed, permissions } of listing.entries) {
    expect(name).not.toMatch(/[/\\\p{Cc}\ufffd]/u);
    expect(['', '.', '..']).not.toContain(name);
    expect(charset.encode(name)).toEqual(bytes);
    expect(body.includes(bytes)).toBe(true);
    names.add(name);
    if (sizeBytes !== undefined) expect(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0).toBe(true);
    if (modifiedMs !== undefined) expect(Number.isSafeInteger(modifiedMs)).toBe(true);
    if (listed !== undefined) expect(Number.isSafeInteger(listed.localMs)).toBe(true);
    if (permissions !== undefined) expect(permissions >= 0 && permissions <= 0o7777).toBe(true);
  }
  expect(names.size).toBe(listing.entries.length);
  const lines = body.toString('latin1').split('\n').length;
  expect(listing.entries.length + listing.unusable.length + listing.unreadable).toBeLessThanOrEqual(lines);
  if (listing.form === 'empty')
    expect(listing).toEqual({ entries: [], unusable: [], unreadable: 0, form: 'empty' });
  if (listing.form === 'unknown') expect(listing.unreadable).toBeGreaterThan(0);
}
