/*
 * Where a server of a test listens: on a loopback address of this machine, or in a network namespace that a test made
 * (link.ts), which is entered by words in front of the command.
 */

export interface Place {
  /** IP address to listen on, and to connect to. */
  readonly host: string;
  /** Words in front of a command so that it runs there; none where it is this process's own network. */
  readonly enter: readonly string[];
}

export const loopback: Place = { host: '127.0.0.1', enter: [] };
export const loopback6: Place = { host: '::1', enter: [] };

/** The command as it has to be started to run there. */
export function runAt(place: Place, command: Command): Command {
  const [first, ...rest] = [...place.enter, ...command];
  return first === undefined ? command : [first, ...rest];
}

/** A program and its arguments. */
export type Command = readonly [string, ...string[]];
