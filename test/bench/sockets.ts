/*
 * The yardstick for one large file: what node's own sockets and files do with the same bytes and the same FTP server,
 * with nothing around it. No check, no temporary name, no times; the server is trusted. A program of its own:
 *
 *   node build/test/bench/sockets.js push-one|pull-one plain|tls HOST PORT USER PASSWORD FILE REMOTE-FILE
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';

/** A file goes to a socket twice as fast in reads of this size as in node's usual ones. */
const READ_BYTES = 1024 * 1024;

class Control {
  #socket: Socket;
  #replies: AsyncIterator<string>;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#replies = linesOf(socket);
  }

  async say(command: string, expected: string): Promise<string> {
    this.#socket.write(`${command}\r\n`);
    return this.expect(expected);
  }

  async expect(code: string): Promise<string> {
    for (;;) {
      const { value, done } = await this.#replies.next();
      if (done === true) throw new Error(`The server has gone; expected ${code}`);
      const line = String(value);
      if (!/^\d{3} /.test(line)) continue;
      if (!line.startsWith(code)) throw new Error(line);
      return line;
    }
  }

  async secure(): Promise<TLSSocket> {
    await this.say('AUTH TLS', '234');
    const secured = await secure(this.#socket, undefined);
    this.#socket = secured;
    this.#replies = linesOf(secured);
    return secured;
  }

  end(): void {
    this.#socket.destroy();
  }
}

function linesOf(socket: Socket): AsyncIterator<string> {
  return createInterface({ input: socket })[Symbol.asyncIterator]();
}

/** TLS 1.2, for its session is there when the handshake is over. */
function secure(socket: Socket, session: Buffer | undefined): Promise<TLSSocket> {
  const options = { socket, maxVersion: 'TLSv1.2', rejectUnauthorized: false } as const;
  return new Promise((done, failed) => {
    const secured = connectTls(session === undefined ? options : { ...options, session }, () =>
      done(secured),
    );
    secured.once('error', failed);
  });
}

async function opened(host: string, port: number): Promise<Socket> {
  const socket = connect({ host, port, noDelay: true });
  await new Promise<void>((done, failed) => {
    socket.once('connect', done);
    socket.once('error', failed);
  });
  return socket;
}

async function main(words: readonly string[]): Promise<void> {
  const [work, protocol, host = '', port = '', user = '', password = '', file = '', remote = ''] = words;
  const control = new Control(await opened(host, Number(port)));
  await control.expect('220');
  const first = protocol === 'tls' ? await control.secure() : undefined;
  await control.say(`USER ${user}`, '331');
  await control.say(`PASS ${password}`, '230');
  if (first !== undefined) {
    await control.say('PBSZ 0', '200');
    await control.say('PROT P', '200');
  }
  await control.say('TYPE I', '200');
  const passive = await control.say('EPSV', '229');
  const plain = await opened(host, Number(/\|(\d+)\|/.exec(passive)?.[1]));
  await control.say(`${work === 'push-one' ? 'STOR' : 'RETR'} ${remote}`, '150');
  const data = first === undefined ? plain : await secure(plain, first.getSession());
  if (work === 'push-one') await pipeline(createReadStream(file, { highWaterMark: READ_BYTES }), data);
  else await pipeline(data, createWriteStream(file, { highWaterMark: READ_BYTES }));
  await control.expect('226');
  control.end();
}

await main(process.argv.slice(2));
