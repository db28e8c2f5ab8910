/*
 * The yardstick: what node's own sockets and files do with the same bytes and the same FTP server, with nothing around
 * it. No check, no temporary name, no times; the server is trusted. A program of its own:
 *
 *   node build/test/bench/sockets.js push-one|pull-one plain|tls HOST PORT USER PASSWORD FILE REMOTE-FILE
 *   node build/test/bench/sockets.js push-small plain|tls HOST PORT USER PASSWORD DIRECTORY REMOTE-DIRECTORY
 */
import { once } from 'node:events';
import { createReadStream, createWriteStream, readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';

/** A file goes to a socket twice as fast in reads of this size as in node's usual ones. */
const READ_BYTES = 1024 * 1024;
/** As many as ferryd opens. */
const SMALL_CONNECTIONS = 4;

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

type Server = readonly [protocol: string, host: string, port: string, user: string, password: string];

/** A control connection, logged in; over TLS its session is what data connections resume. */
async function loggedIn([protocol, host, port, user, password]: Server) {
  const control = new Control(await opened(host, Number(port)));
  await control.expect('220');
  const secured = protocol === 'tls' ? await control.secure() : undefined;
  await control.say(`USER ${user}`, '331');
  await control.say(`PASS ${password}`, '230');
  if (secured !== undefined) {
    await control.say('PBSZ 0', '200');
    await control.say('PROT P', '200');
  }
  await control.say('TYPE I', '200');
  const transfer = async (command: string, carry: (data: Socket) => Promise<void>): Promise<void> => {
    const passive = await control.say('EPSV', '229');
    const plain = await opened(host, Number(/\|(\d+)\|/.exec(passive)?.[1]));
    await control.say(command, '150');
    await carry(secured === undefined ? plain : await secure(plain, secured.getSession()));
    await control.expect('226');
  };
  return { control, transfer };
}

async function moveOne(
  work: string | undefined,
  server: Server,
  file: string,
  remote: string,
): Promise<void> {
  const { control, transfer } = await loggedIn(server);
  if (work === 'push-one')
    await transfer(`STOR ${remote}`, (data) =>
      pipeline(createReadStream(file, { highWaterMark: READ_BYTES }), data),
    );
  else
    await transfer(`RETR ${remote}`, (data) =>
      pipeline(data, createWriteStream(file, { highWaterMark: READ_BYTES })),
    );
  control.end();
}

/** Each connection sends one file after the other. */
async function pushSmall(server: Server, root: string, remote: string): Promise<void> {
  const directories = readdirSync(root);
  const files = directories.flatMap((name) => readdirSync(join(root, name)).map((file) => `${name}/${file}`));
  const lanes = await Promise.all(Array.from({ length: SMALL_CONNECTIONS }, () => loggedIn(server)));
  for (const name of directories) await lanes[0]?.control.say(`MKD ${remote}/${name}`, '257');
  const rest = files.values();
  await Promise.all(
    lanes.map(async ({ control, transfer }) => {
      for (const file of rest) {
        const content = readFileSync(join(root, file));
        await transfer(`STOR ${remote}/${file}`, async (data) => {
          data.resume().end(content);
          await once(data, 'close');
        });
      }
      control.end();
    }),
  );
}

async function main([work, ...words]: readonly string[]): Promise<void> {
  const [protocol = '', host = '', port = '', user = '', password = '', local = '', remote = ''] = words;
  const server = [protocol, host, port, user, password] as const;
  if (work === 'push-small') await pushSmall(server, local, remote);
  else await moveOne(work, server, local, remote);
}

await main(process.argv.slice(2));
