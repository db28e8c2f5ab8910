/*
 * The format of known_hosts as a table and by properties, and against what ssh-keygen itself makes of such files.
 */
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readKnownHosts } from '../../../src/sftp/ssh/host-key.js';
import {
  fingerprintOf,
  judgeHostKey,
  keyLabel,
  keysOf,
  keyTypeOf,
  knownKeyTypes,
  readFingerprint,
  rewriteKnownHosts,
} from '../../../src/sftp/ssh/known-hosts.js';
import { describeWhere, findProgram, unpackedEnvironment } from '../../support/real-server.js';
import { sshKey } from '../../support/sftp-server/keys.js';
import { temporaryDirectory } from '../../support/temporary.js';

const old = sshKey('old');
const fresh = sshKey('fresh');
const rsa = sshKey('host', { type: 'rsa' });
const ecdsa = sshKey('host', { type: 'ecdsa' });

function blob({ publicKey }: { readonly publicKey: string }): Buffer {
  return Buffer.from(publicKey.split(' ')[1] ?? '', 'base64');
}

function hashed(name: string, salt = Buffer.alloc(20, 7)): string {
  const hash = createHmac('sha1', salt).update(name).digest('base64');
  return `|1|${salt.toString('base64')}|${hash}`;
}

function judge(text: string, key = fresh, host = 'nas.example.net', port = 22) {
  return judgeHostKey({ host, port, key: blob(key) }, [{ path: '/k', text }]);
}

describe('names', () => {
  test.each([
    ['the name', 'nas.example.net', 22, 'yes'],
    ['in other letters', 'NAS.Example.Net', 22, 'yes'],
    ['another name', 'nas2.example.net', 22, 'no'],
    ['a name that only ends so', 'xnas.example.net', 22, 'no'],
    ['one of a list', 'a,nas.example.net,b', 22, 'yes'],
    ['a star', '*.example.net', 22, 'yes'],
    ['a star for nothing', 'nas*.example.net', 22, 'yes'],
    ['stars that must go back', '*a*n*t', 22, 'yes'],
    ['question marks', 'n?s.example.ne?', 22, 'yes'],
    ['one question mark too many', '?nas.example.net', 22, 'no'],
    ['all but it', '*.example.net,!nas.example.net', 22, 'no'],
    ['all but it, the other way round', '!nas*,*', 22, 'no'],
    ['only what it is not', '!other', 22, 'no'],
    ['hashed', hashed('nas.example.net'), 22, 'yes'],
    ['another one hashed', hashed('other.example.net'), 22, 'no'],
    ['a hash that is none', '|1|AAAA', 22, 'no'],
    ['a hash of another kind', hashed('nas.example.net').replace('|1|', '|2|'), 22, 'no'],
    ['a port', '[nas.example.net]:2222', 2222, 'yes'],
    ['a star for the port', '[nas.example.net]:*', 2222, 'yes'],
    ['another port', '[nas.example.net]:2223', 2222, 'no'],
    ['a port hashed', hashed('[nas.example.net]:2222'), 2222, 'yes'],
    ['a port where 22 is meant', '[nas.example.net]:2222', 22, 'no'],
    ['22 in full', '[nas.example.net]:22', 22, 'yes'],
    ['no port, which vouches for all', 'nas.example.net', 2222, 'yes'],
  ])('%s', (_, hosts, port, expected) => {
    const verdict = judge(`${hosts} ${fresh.publicKey}\n`, fresh, 'nas.example.net', port);
    expect(verdict.kind).toBe(expected === 'yes' ? 'trusted' : 'unknown');
  });

  test('an entry without a port never contradicts another port', () => {
    const text = `nas.example.net ${old.publicKey}`;
    expect(judge(text, fresh, 'nas.example.net', 2222).kind).toBe('unknown');
    expect(judge(text).kind).toBe('changed');
  });

  test.each(['2001:db8::1', '192.0.2.1'])('an address: %s', (host) => {
    expect(judge(`${host} ${fresh.publicKey}`, fresh, host).kind).toBe('trusted');
    expect(judge(`[${host}]:2200 ${fresh.publicKey}`, fresh, host, 2200).kind).toBe('trusted');
  });

  test('no pattern takes long', () => {
    const started = performance.now();
    expect(judge(`${'*a'.repeat(2_000)}b ${fresh.publicKey}`, fresh, 'a'.repeat(255)).kind).toBe('unknown');
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});

describe('verdicts', () => {
  const host = 'nas.example.net';

  test('any of several keys; which line it was', () => {
    const text = `# mine\r\n\r\n${host} ${old.publicKey}\r\n  ${host}\t${fresh.publicKey} a comment\r\n`;
    expect(judge(text)).toMatchObject({ kind: 'trusted', at: { path: '/k', line: 4 } });
    expect(judge(text, old)).toMatchObject({ kind: 'trusted', at: { line: 3 } });
    expect(judge(text, rsa)).toMatchObject({ kind: 'changed', known: [{ line: 3 }, { line: 4 }] });
  });

  test('several files', () => {
    const files = [
      { path: '/one', text: `${host} ${old.publicKey}\n` },
      { path: '/two', text: `${host} ${fresh.publicKey}\n` },
    ];
    const asked = { host, port: 22, key: blob(fresh) };
    expect(judgeHostKey(asked, files)).toMatchObject({ kind: 'trusted', at: { path: '/two', line: 1 } });
    expect(judgeHostKey(asked, files.slice(0, 1))).toMatchObject({
      kind: 'changed',
      known: [{ path: '/one' }],
    });
  });

  test('a revoked key is revoked, wherever it is trusted besides', () => {
    const text = `${host} ${fresh.publicKey}\n@revoked * ${fresh.publicKey}\n`;
    expect(judge(text)).toMatchObject({ kind: 'revoked', at: { line: 2 } });
    expect(judge(`@revoked * ${old.publicKey}\n${host} ${fresh.publicKey}`).kind).toBe('trusted');
    expect(judge(`@revoked other ${fresh.publicKey}`).kind).toBe('unknown');
    expect(judge(`@revoked ${host} ${fresh.publicKey}`, fresh, host, 2222).kind).toBe('revoked');
  });

  test.each([
    [
      'a certificate authority',
      `@cert-authority *.example.net ${fresh.publicKey}`,
      'certificates of an authority',
    ],
    ['a key that is cut off', `${host} ${fresh.publicKey.slice(0, -20)}`, 'damaged'],
    ['a key with something in it', `${host} ssh-ed25519 AAAA*AAA`, 'damaged'],
    ['a key of another type than it says', `${host} ssh-rsa ${blob(fresh).toString('base64')}`, 'damaged'],
    ['a DSA key', `${host} ssh-dss AAAAB3NzaC1kc3M=`, 'does not use keys of its type'],
    ['a key of SSH 1', `${host} 1024 35 13931`, 'SSH 1'],
    ['no key', `${host}`, 'has no key'],
    ['another marker', `@trusted ${host} ${fresh.publicKey}`, 'what its first word means'],
  ])('%s is not used, and told', (_, line, remark) => {
    const verdict = judge(`\n${line}\n`);
    expect(verdict.kind).toBe('unknown');
    const told = 'remarks' in verdict ? verdict.remarks : [];
    expect(told).toHaveLength(1);
    expect(told[0]).toContain(remark);
    expect(told[0]).toContain('/k:2');
    const elsewhere = judge(`\n${line.replace(/\*?\.?(nas\.)?example\.net/, 'other.invalid')}\n`);
    expect(elsewhere).toEqual({ kind: 'unknown', remarks: [] });
  });

  test('remarks are few', () => {
    const verdict = judge(`${host} ssh-dss AAAA\n`.repeat(50));
    expect('remarks' in verdict ? verdict.remarks : []).toHaveLength(3);
  });

  test('types that are known come first', () => {
    const text = `${host} ${rsa.publicKey}\n@revoked ${host} ${ecdsa.publicKey}\nother ${old.publicKey}\n`;
    expect([...knownKeyTypes({ host, port: 22 }, [{ path: '/k', text }])]).toEqual(['ssh-rsa']);
  });

  test('whatever stands there, nothing is thrown, and only the same key is trusted', () => {
    const word = fc.oneof(
      fc.constantFrom(
        host,
        '*',
        `!${host}`,
        '@revoked',
        '@cert-authority',
        hashed(host),
        '|1|',
        ',',
        '#',
        '\t',
      ),
      fc.constantFrom(...old.publicKey.split(' '), ...rsa.publicKey.split(' ')),
      fc.string({ maxLength: 12 }),
    );
    const line = fc.array(word, { maxLength: 5 }).map((words) => words.join(' '));
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), (lines) => {
        const verdict = judge(lines.join('\n'));
        // The key that is asked for stands nowhere.
        expect(['unknown', 'changed']).toContain(verdict.kind);
      }),
    );
  });
});

describe('keys', () => {
  test.each([
    ['ssh-ed25519', 'ED25519', fresh],
    ['ssh-rsa', 'RSA', rsa],
    ['ecdsa-sha2-nistp256', 'ECDSA', ecdsa],
  ])('%s', (type, label, key) => {
    expect([keyTypeOf(blob(key)), keyLabel(blob(key)), fingerprintOf(blob(key))]).toEqual([
      type,
      label,
      key.fingerprint,
    ]);
  });

  test.each([[''], ['\0\0'], ['\0\0\0\x07ssh-foo\0'], ['\xff\xff\xff\xffssh-rsa'], ['\0\0\0\x07ssh-rsa']])(
    'what is no key has no type: %j',
    (text) => {
      expect(keyTypeOf(Buffer.from(text, 'latin1'))).toBeUndefined();
    },
  );

  test('fingerprints, padded or not, and no others', () => {
    const { fingerprint } = fresh;
    expect(readFingerprint(fingerprint)).toBe(fingerprint);
    expect(readFingerprint(` ${fingerprint}= `)).toBe(fingerprint);
    for (const wrong of [
      '',
      'SHA256:',
      fingerprint.slice(0, -1),
      `${fingerprint}A`,
      fingerprint.replace('SHA256', 'SHA1'),
      'MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48',
      fingerprint.slice(7),
    ])
      expect(readFingerprint(wrong)).toBeUndefined();
  });
});

describe('writing', () => {
  const address = { host: 'nas.example.net', port: 2222 };
  const name = '[nas.example.net]:2222';

  function rewrite(
    text: string,
    stale: readonly { publicKey: string }[],
    added: readonly { publicKey: string }[],
  ) {
    return rewriteKnownHosts(text, { address, stale: stale.map(blob), added: added.map(blob) });
  }

  test('into nothing', () => {
    expect(rewrite('', [], [fresh, rsa])).toEqual({
      text: `${name} ${fresh.publicKey}\n${name} ${rsa.publicKey}\n`,
      changedLines: [],
    });
  });

  test('in place of old keys; all else stays byte for byte', () => {
    const before = [
      '# a comment \xe9\x00',
      `${name} ${old.publicKey} mine`,
      `${hashed(name)} ${old.publicKey}`,
      `other,${name},*.example.org ${old.publicKey} shared`,
      `${name} ${rsa.publicKey}`,
      `other ${old.publicKey}`,
      `@revoked ${name} ${old.publicKey}`,
      `[*]:2222 ${old.publicKey}`,
      `nas.example.net ${old.publicKey}`,
      '',
      'no newline at the end',
    ];
    const { text, changedLines } = rewrite(before.join('\n'), [old], [fresh]);
    expect(changedLines).toEqual([2, 3, 4]);
    expect(text.split('\n')).toEqual([
      before[0],
      `other,*.example.org ${old.publicKey} shared`,
      ...before.slice(4),
      `${name} ${fresh.publicKey}`,
      '',
    ]);
  });

  test('with line ends as the file has them', () => {
    expect(rewrite(`other ${old.publicKey}\r\n`, [], [fresh]).text).toBe(
      `other ${old.publicKey}\r\n${name} ${fresh.publicKey}\r\n`,
    );
  });

  test('what was written is trusted, what was stale is not, and other hosts keep theirs', () => {
    const keys = [old, fresh, rsa];
    const hosts = fc.constantFrom(name, 'other', `other,${name}`, hashed(name), '*.org', `x,${name},y`);
    const line = fc.oneof(
      fc.record({ hosts, key: fc.nat(2) }).map((one) => `${one.hosts} ${keys[one.key]?.publicKey}`),
      fc.constantFrom('', '# comment', 'garbage', `${name} ssh-dss AAAA`),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), fc.constantFrom('\n', '\r\n'), (lines, end) => {
        const text = lines.map((one) => one + end).join('');
        const { text: after, changedLines } = rewrite(text, [old], [ecdsa]);
        const file = { path: '/k', text: after };
        expect(judgeHostKey({ ...address, key: blob(ecdsa) }, [file]).kind).toBe('trusted');
        expect(keysOf(address, file).some(({ key }) => key.equals(blob(old)))).toBe(false);
        const others = (content: string) =>
          keysOf({ host: 'other', port: 22 }, { path: '/k', text: content });
        expect(others(after).map(({ key }) => key)).toEqual(others(text).map(({ key }) => key));
        const untouched = lines.filter((kept, index) => kept !== '' && !changedLines.includes(index + 1));
        for (const kept of untouched) expect(after.split(end)).toContain(kept);
      }),
    );
  });
});

describe('files', () => {
  test('what is not there is nothing; what cannot be read is told', async () => {
    await using directory = await temporaryDirectory('known');
    const file = directory.join('known_hosts');
    await writeFile(file, `nas ${fresh.publicKey}\n`);
    await mkdir(directory.join('directory'));
    const { files, troubles } = await readKnownHosts([
      directory.join('missing'),
      directory.join('known_hosts/below'),
      file,
      directory.join('directory'),
    ]);
    expect(files.map(({ path }) => path)).toEqual([file]);
    expect(troubles).toHaveLength(1);
    expect(troubles[0]).toContain('directory');
  });

  test('a huge file is read as far as 8 MiB, in whole lines', async () => {
    await using directory = await temporaryDirectory('known');
    const file = directory.join('known_hosts');
    const line = `nas ${fresh.publicKey}\n`;
    await writeFile(file, line.repeat(Math.ceil((9 * 1024 * 1024) / line.length)));
    const { files, troubles } = await readKnownHosts([file]);
    expect(files[0]?.text.length).toBeLessThanOrEqual(8 * 1024 * 1024);
    expect(files[0]?.text.endsWith(line)).toBe(true);
    expect(troubles[0]).toContain('larger than 8 MiB');
  });
});

const keygen = findProgram('ssh-keygen');

describeWhere(
  'ssh-keygen',
  keygen === undefined ? 'ssh-keygen is not installed: run .ci/servers' : undefined,
  'ssh-keygen',
  () => {
    const run = async (...words: string[]): Promise<string> => {
      const { stdout } = await promisify(execFile)(keygen ?? '', words, { env: unpackedEnvironment() });
      return stdout;
    };
    const names = ['nas.example.net', '[nas.example.net]:2222', '192.0.2.7', '[2001:db8::1]:22022', 'other'];

    test('what it hashes is found, and what it takes away is not', async () => {
      await using directory = await temporaryDirectory('keygen');
      const file = directory.join('known_hosts');
      await writeFile(file, names.map((name) => `${name} ${fresh.publicKey}\n`).join(''));
      await run('-H', '-f', file);
      const text = await readFile(file, 'utf8');
      expect(text).not.toContain('nas.example.net');
      const found = (content: string) =>
        [
          ['nas.example.net', 22],
          ['nas.example.net', 2222],
          ['192.0.2.7', 22],
          ['2001:db8::1', 22022],
          ['other', 22],
          ['nobody', 22],
        ].map(([host, port]) => judge(content, fresh, String(host), Number(port)).kind);
      const all = Array.from({ length: 5 }, () => 'trusted');
      expect(found(text)).toEqual([...all, 'unknown']);
      await run('-R', '[nas.example.net]:2222', '-f', file);
      const without = await readFile(file, 'utf8');
      // The entry without a port still vouches for that host.
      expect(judge(without, fresh, 'nas.example.net', 2222).kind).toBe('trusted');
      await run('-R', 'nas.example.net', '-f', file);
      expect(found(await readFile(file, 'utf8'))).toEqual(['unknown', 'unknown', ...all.slice(2), 'unknown']);
    });

    test('it finds what is written here, and agrees about patterns', async () => {
      await using directory = await temporaryDirectory('keygen');
      const file = directory.join('known_hosts');
      const lines = ['*.example.net,!bad.example.net', 'n?s', hashed('deep.example.org'), '*'].map(
        (hosts) => `${hosts} ${fresh.publicKey}`,
      );
      const { text } = rewriteKnownHosts('', {
        address: { host: 'nas.example.net', port: 2222 },
        stale: [],
        added: [blob(fresh), blob(rsa)],
      });
      await writeFile(file, text);
      expect(await run('-F', '[nas.example.net]:2222', '-f', file)).toContain(rsa.publicKey);
      for (const line of lines) {
        await writeFile(file, `${line}\n`);
        for (const host of ['nas.example.net', 'bad.example.net', 'nas', 'ns', 'deep.example.org', 'x']) {
          // It ends with 1 where it finds nothing.
          const theirs = await run('-F', host, '-f', file).then(
            (out) => out !== '',
            () => false,
          );
          expect([line, host, judge(line, fresh, host).kind === 'trusted']).toEqual([line, host, theirs]);
        }
      }
    });

    test('fingerprints are its own', async () => {
      await using directory = await temporaryDirectory('keygen');
      const file = directory.join('key.pub');
      for (const key of [fresh, rsa, ecdsa]) {
        await writeFile(file, `${key.publicKey}\n`);
        await chmod(file, 0o600);
        expect(await run('-lf', file)).toContain(fingerprintOf(blob(key)));
      }
    });
  },
);
