/* Whether standard error is the journal: only the very stream that systemd named counts. */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { expect, test } from 'vitest';
import { isJournal } from '../../src/report/journal.js';
import { temporaryDirectory } from '../support/temporary.js';

test('the stream that is named is the journal, another one is not', async () => {
  await using directory = await temporaryDirectory('journal');
  const [ours, other] = ['a', 'b'].map((name) => openSync(directory.join(name), 'w'));
  if (ours === undefined || other === undefined) throw new Error('no files');
  const { dev, ino } = fstatSync(ours, { bigint: true });
  const environment = { JOURNAL_STREAM: `${dev}:${ino}` };
  expect(isJournal(ours, environment)).toBe(true);
  expect(isJournal(other, environment)).toBe(false);
  expect(isJournal(ours, { JOURNAL_STREAM: `${ino}:${dev}` })).toBe(false);
  for (const fd of [ours, other]) closeSync(fd);
});

test.each([{}, { JOURNAL_STREAM: '' }, { JOURNAL_STREAM: 'x' }])(
  'nothing is the journal in %j',
  (environment) => {
    expect(isJournal(2, environment)).toBe(false);
  },
);

test('a descriptor that is closed is nothing', () => {
  expect(isJournal(1_000_000, { JOURNAL_STREAM: '1:2' })).toBe(false);
});
