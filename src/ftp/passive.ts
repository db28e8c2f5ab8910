/*
 * Reads where a server listens for the data connection: the replies to PASV (RFC 959, RFC 1123 4.1.2.6)
 * and EPSV (RFC 2428 section 3). Only the port is taken: the address of a 227 is often private, wrong, or
 * chosen to make us connect elsewhere, so the data connection always goes to the control connection's peer.
 */
import type { Reply } from './reply.js';

/* Some servers write `127, 0, 0, 1, 4, 1`. */
const SIX_OCTETS =
  /(?<![\d,]|, )(\d{1,3}), ?(\d{1,3}), ?(\d{1,3}), ?(\d{1,3}), ?(\d{1,3}), ?(\d{1,3})(?![\d,])/;

/**
 * The port of a 227, however the server words it.
 *
 * @returns undefined where no six octets with a port over 0 are to be found
 */
export function passivePort(reply: Reply): number | undefined {
  const octets = SIX_OCTETS.exec(afterCode(reply));
  if (octets === null) return undefined;
  const numbers = octets.slice(1).map(Number);
  if (numbers.some((octet) => octet > 255)) return undefined;
  const [high = 0, low = 0] = numbers.slice(4);
  return usable(high * 256 + low);
}

/**
 * The port of a 229: `(<d><d><d>port<d>)`, where the delimiter is whatever printable character the server took.
 *
 * @returns undefined where the form does not hold or the port is not 1 to 65535
 */
export function extendedPassivePort(reply: Reply): number | undefined {
  const match = /([\x21-\x2f\x3a-\x7e])\1\1(\d{1,5})\1/.exec(afterCode(reply));
  return match?.[2] === undefined ? undefined : usable(Number(match[2]));
}

function afterCode(reply: Reply): string {
  return (reply.lines.at(-1) ?? '').slice(4);
}

function usable(port: number): number | undefined {
  return port >= 1 && port <= 65_535 ? port : undefined;
}
