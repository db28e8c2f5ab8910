/*
 * A tiny echo over TCP, to measure a link with: `echo.mjs serve HOST` says its port and sends back what comes;
 * `echo.mjs measure HOST PORT` says the shortest of a few round trips of one byte, in milliseconds.
 */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const rounds = 10;
const patienceMs = 10_000;

const [what, host, port] = process.argv.slice(2);

if (what === 'serve') {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  server.listen(0, host);
  await once(server, 'listening');
  process.stdout.write(`${server.address().port}\n`);
} else {
  const socket = connect({ host, port: Number(port), noDelay: true });
  socket.setTimeout(patienceMs, () => socket.destroy(new Error(`${host} does not answer`)));
  await once(socket, 'connect');
  let shortestMs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rounds; i += 1) {
    const before = performance.now();
    socket.write('.');
    await once(socket, 'data');
    shortestMs = Math.min(shortestMs, performance.now() - before);
  }
  socket.destroy();
  process.stdout.write(`${shortestMs}\n`);
}
