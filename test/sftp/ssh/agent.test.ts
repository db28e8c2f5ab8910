/*
 * The agent's protocol against a socket that answers as it likes. A real ssh-agent is asked in real-ssh.test.ts.
 */
import net from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { agentKeys, agentSignature } from '../../../src/sftp/ssh/agent.js';
import { type TemporaryDirectory, temporaryDirectory } from '../../support/temporary.js';

let directory: TemporaryDirectory;
let server: net.Server;
const sockets = new Set<net.Socket>();

beforeEach(async () => {
  directory = await temporaryDirectory('agent');
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  await directory.remove();
});

function text(...fields: (string | Buffer)[]): Buffer {
  return Buffer.concat(fields.map((field) => framed(Buffer.from(field))));
}

function framed(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** Listens, and hands each whole request to `answer`. */
async function agent(answer: (request: Buffer, socket: net.Socket) => void): Promise<string> {
  const path = directory.join('socket');
  server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    let received = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length >= 4 && received.length === 4 + received.readUInt32BE(0))
        answer(received.subarray(4), socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

const never = new AbortController().signal;

async function gone(): Promise<void> {
  while (sockets.size > 0) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe('keys', () => {
  test('in order, in crumbs, with cleaned comments', async () => {
    const answer = Buffer.concat([
      Buffer.from([12, 0, 0, 0, 2]),
      text('key1', 'me@home', 'key2', 'a\u001b[2Jb'),
    ]);
    const path = await agent((request, socket) => {
      expect(request).toEqual(Buffer.from([11]));
      for (const byte of framed(answer)) socket.write(Buffer.from([byte]));
    });
    expect(await agentKeys(path, never)).toEqual([
      { key: Buffer.from('key1'), comment: 'me@home' },
      { key: Buffer.from('key2'), comment: 'a?[2Jb' },
    ]);
    await gone();
  });

  test.each([
    ['no keys to tell', framed(Buffer.from([5])), 'does not tell its keys'],
    ['an answer of nothing', Buffer.alloc(4), 'cannot be read'],
    ['an answer without end', Buffer.from([255, 255, 255, 255]), 'cannot be read'],
    ['more keys than there are', framed(Buffer.from([12, 0, 0, 0, 9])), 'cannot be read'],
    ['keys without number', framed(Buffer.from([12, 255, 255, 255, 255])), 'cannot be read'],
    ['a key that is cut off', framed(Buffer.from([12, 0, 0, 0, 1, 0, 0, 0, 9, 1])), 'cannot be read'],
  ])('%s', async (_, bytes, sentence) => {
    const path = await agent((_request, socket) => socket.write(bytes));
    const asked = agentKeys(path, never);
    await expect(asked).rejects.toMatchObject({ kind: 'authentication', code: 'AGENT' });
    await expect(asked).rejects.toThrow(sentence);
    await gone();
  });

  test('an agent that ends, and one that has ended', async () => {
    const path = await agent((_request, socket) => socket.destroy());
    await expect(agentKeys(path, never)).rejects.toThrow(/ended without an answer|cannot be reached/);
    await expect(agentKeys(directory.join('none'), never)).rejects.toThrow('is not there');
  });

  test('an agent that asks its owner first is waited for until nobody wants it any more', async () => {
    const stop = new AbortController();
    const path = await agent(() => stop.abort(new Error('enough')));
    await expect(agentKeys(path, stop.signal)).rejects.toThrow('enough');
    await expect(agentKeys(path, stop.signal)).rejects.toThrow('enough');
    await gone();
  });
});

describe('signatures', () => {
  const question = { key: Buffer.from('key'), data: Buffer.from('data'), hash: undefined };

  test('with the flags that RSA needs', async () => {
    const asked: Buffer[] = [];
    const path = await agent((request, socket) => {
      asked.push(request);
      const form = ['ssh-ed25519', 'rsa-sha2-256', 'rsa-sha2-512'][asked.length - 1] ?? '';
      socket.write(framed(Buffer.concat([Buffer.from([14]), text(text(form, 'signature'))])));
    });
    for (const hash of [undefined, 'sha256', 'sha512'] as const)
      expect(await agentSignature(path, { ...question, hash }, never)).toEqual(Buffer.from('signature'));
    const flags = [0, 2, 4].map((flag) =>
      Buffer.concat([Buffer.from([13]), text('key', 'data'), Buffer.from([0, 0, 0, flag])]),
    );
    expect(asked).toEqual(flags);
  });

  test('a refusal, and a signature with SHA-1', async () => {
    let answer = Buffer.from([5]);
    const path = await agent((_request, socket) => socket.write(framed(answer)));
    await expect(agentSignature(path, question, never)).rejects.toThrow('refuses to sign');
    answer = Buffer.concat([Buffer.from([14]), text(text('ssh-rsa', 'signature'))]);
    const asked = agentSignature(path, { ...question, hash: 'sha256' }, never);
    await expect(asked).rejects.toThrow('does not know rsa-sha2-256');
  });
});
