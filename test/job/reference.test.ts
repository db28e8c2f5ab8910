/* The schemas, the job reference and the example jobs say the same. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { CHARSETS } from '../../src/job/charset.js';
import { loadConfiguration } from '../../src/job/load.js';
import { agentSchema, inlineEndSchema, jobSchema } from '../../src/job/schema.js';
import {
  accountSchema,
  keyPassphraseSchema,
  keySchema,
  passphraseSchema,
  passwordSchema,
  privateKeySchema,
  serversSchema,
} from '../../src/job/schema-server.js';
import { simplify } from '../../src/job/suggest.js';
import { newAjv, SCHEMAS } from '../../src/job/validator.js';
import { type Node, reference } from './reference.js';

const JOBS = path.resolve(import.meta.dirname, '../../jobs');

/** Every table of keys on the page: heading, then rows. */
function tables(page: string): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  let heading = '';
  let inside = false;
  for (const line of page.split('\n')) {
    if (line.startsWith('#')) heading = line.replace(/^#+ /, '');
    if (line === '| Key | Type | Default | Meaning |') {
      inside = true;
      found[heading] = [];
    } else if (!line.startsWith('|')) inside = false;
    else if (inside && !line.startsWith('| ---')) found[heading]?.push(line);
  }
  return found;
}

test('the page documents every key, with its type, default and meaning, and no other', async () => {
  expect(tables(await readFile(path.join(JOBS, 'README.md'), 'utf8'))).toEqual(reference());
});

test('the page names every charset, and no other', async () => {
  const page = await readFile(path.join(JOBS, 'README.md'), 'utf8');
  const [, section = ''] = /^### Charsets\n(.*?)^#/ms.exec(page) ?? [];
  const [, known = ''] = /Known are (.*?)\.\n/.exec(section) ?? [];
  expect(known.split(', ')).toEqual(CHARSETS.map((label) => `\`${label}\``));
});

test('a server is the same inline and in servers.yaml, and every secret is written like a password', () => {
  const { path: own, ...shared } = inlineEndSchema.properties;
  expect(own.type).toBe('string');
  expect(shared).toEqual(serversSchema.additionalProperties.properties);
  for (const secret of [accountSchema, keySchema, passphraseSchema, privateKeySchema, keyPassphraseSchema]) {
    expect(secret.properties).toBe(passwordSchema.properties);
  }
});

describe('each property of the schemas', () => {
  const properties = [jobSchema, agentSchema, serversSchema].flatMap((schema) => walk(schema, schema.title));

  test.each(Object.entries(SCHEMAS))('the schema of a %s is one of draft 7', (_, schema) => {
    expect(() => newAjv({ validateSchema: true }).compile(schema)).not.toThrow();
  });

  test('there are some', () => {
    expect(properties.length).toBeGreaterThan(60);
  });

  test.each(properties)(
    '%s has a description, and a default that fits or is required',
    (_, property, required) => {
      expect(property.description).toMatch(/^.{10,}\.$/s);
      expect(property.description).not.toContain('|');
      expect(property.default === undefined).toBe(required === 'required');
      if (property.default !== undefined && property.default !== null && property.default !== '') {
        expect(newAjv().validate(property, property.default)).toBe(true);
      }
    },
  );
});

/** A word that stands for two things would name the wrong one to half of those who write it. */
describe('the words of other programs', () => {
  const nodes = [jobSchema, agentSchema, serversSchema].flatMap((schema): [string, Node][] => [
    [schema.title, schema],
    ...walk(schema, schema.title).map(([at, property]): [string, Node] => [at, property]),
  ]);

  test.each(nodes.filter(([, node]) => node.properties !== undefined))('%s: one key each', (_, node) => {
    const keys = Object.entries(node.properties ?? {});
    const words = keys.flatMap(([key, { alsoCalled = [] }]) => [key, ...alsoCalled].map(simplify));
    expect(words.toSorted()).toEqual([...new Set(words)].toSorted());
  });

  test.each(nodes.filter(([, node]) => node.enum !== undefined))('%s: one value each', (_, node) => {
    const { enum: values = [], valuesAlsoCalled = {}, whenValue = {} } = node;
    for (const value of Object.keys(valuesAlsoCalled)) expect(values).toContain(value);
    const words = [...values, ...Object.keys(whenValue), ...Object.values(valuesAlsoCalled).flat()];
    const simple = words.map(simplify);
    expect(simple.toSorted()).toEqual([...new Set(simple)].toSorted());
  });
});

function walk(schema: Node & { additionalProperties?: unknown }, at: string): [string, Node, string][] {
  const own = Object.entries(schema.properties ?? {}).flatMap(([key, property]): [string, Node, string][] => {
    const required = schema.required?.includes(key) === true ? 'required' : 'optional';
    return [[`${at} ${key}`, property, required], ...walk(property, `${at} ${key}`)];
  });
  const inside = [...(schema.anyOf ?? []), ...(schema.items === undefined ? [] : [schema.items])];
  if (isNode(schema.additionalProperties)) inside.push(schema.additionalProperties);
  return [...own, ...inside.flatMap((form, index) => walk(form, `${at} form ${index}`))];
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null;
}

test('the example jobs load, without a warning', async () => {
  const { jobs, problems, agent } = await loadConfiguration(JOBS, { cron: () => undefined });
  expect(problems).toEqual([]);
  expect(jobs.map(({ name, mode, direction, server }) => [name, mode, direction, server.host])).toEqual([
    ['archive-photos', 'copy', 'push', 'vault.internal'],
    ['dump-shop', 'copy', 'push', 'nas.example.net'],
    ['fetch-reports', 'copy', 'pull', 'files.warehouse.example'],
    ['mirror-website', 'mirror', 'push', 'files.warehouse.example'],
    ['nightly-backup', 'copy', 'push', 'nas.example.net'],
    ['share-projects', 'copy', 'push', 'nas.example.net'],
    ['sort-scans', 'move', 'pull', 'nas.example.net'],
    ['sync-notes', 'two-way', 'push', 'nas.example.net'],
    ['watch-outbox', 'copy', 'push', 'ftp.partner.example'],
  ]);
  expect(agent).toEqual({
    log: { level: 'info', files: 'show', file: undefined },
    stop: { withinMs: 25_000 },
    runsAtOnce: 4,
    history: { keepMs: 7_776_000_000 },
    notify: [],
  });
});

test('the examples on the page load too', async () => {
  const page = await readFile(path.join(JOBS, 'README.md'), 'utf8');
  const blocks = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text = '']) => text);
  const written = blocks.filter((block) => /^from: /m.test(block));
  expect(written.length).toBeGreaterThan(1);
  const servers = blocks.filter((block) => /^ {2}url: /m.test(block));
  expect(servers.length).toBeGreaterThan(2);
  const { load } = await import('./directory.js');
  const files = Object.fromEntries(written.map((block, index) => [`job-${index}.yaml`, block]));
  const { jobs, lines } = await load({ ...files, 'servers.yaml': servers.join('') });
  expect(lines).toEqual([]);
  expect(jobs).toHaveLength(written.length);
});
