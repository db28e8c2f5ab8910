/*
 * What is used of ssh2, which is imported here alone: the client, keys, and how an agent is handed over.
 */
import ssh2 from 'ssh2';

export type { AnyAuthMethod, ClientChannel, ParsedKey } from 'ssh2';
// biome-ignore lint/performance/noBarrelFile: the one door to the library
export { BaseAgent, Client } from 'ssh2';

export const { parseKey } = ssh2.utils;
