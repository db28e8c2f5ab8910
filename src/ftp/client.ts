/*
 * The verbs of FTP (RFC 959, 2228, 2389, 3659, 4217, 7151 and the unwritten ones) on one control connection: what a
 * session can be asked to do. Each verb sends, waits and reads; a reply of another class than the verb needs is
 * thrown as FtpError with the reply in it. Nothing is retried and no feature is assumed: the caller decides, and
 * says which form of a verb to use.
 *
 * Paths are sent as given; the caller makes them absolute, which spares CWD and the odd meanings of `~`.
 */
import { Answers } from './answer.js';
import { type Charset, UTF_8 } from './charset.js';
import { type Command, ControlConnection, type ControlOptions } from './control.js';
import {
  type Convoy,
  convoyCommands,
  fitsPacket,
  hashCommand,
  type Proof,
  type ProveStep,
  permissionsCommand,
  proofCommands,
  proven,
  renameCommands,
  renamed,
  type SetTimeForm,
  setTimeCommand,
  sizeIn,
  tellConvoy,
  timeIn,
} from './convoy.js';
import type { DataConnection } from './data.js';
import { FtpError, type Phase } from './errors.js';
import { type Features, parseFeatures, quotedPath } from './features.js';
import { digestIn, type HashForm } from './hash.js';
import { parseNames } from './listing/names.js';
import {
  type Listing,
  type MachineEntry,
  parseListing,
  parseMachineEntry,
  parseMachineListing,
  showsItself,
} from './listing.js';
import { extendedPassivePort } from './passive.js';
import type { Reply } from './reply.js';
import {
  type Move,
  type Packet,
  type TransferOptions,
  type TransferSettings,
  Transfers,
} from './transfer.js';

export type { Charset } from './charset.js';
export type { Convoy, HashRefusal, Proof, ProveStep, SetTimeForm, Settled } from './convoy.js';
export type { Features } from './features.js';
export type { HashAlgorithm, HashForm } from './hash.js';
export type { ListedEntry, Listing, MachineEntry } from './listing.js';
export type { Reply } from './reply.js';
export type { TlsTrust } from './tls.js';
export type { ActiveSettings, DataMode, TransferOptions } from './transfer.js';

/** What a session with one server needs to know. */
export interface ClientOptions extends ControlOptions, TransferSettings {
  /** `explicit`: AUTH TLS on a plain connection (RFC 4217). `implicit`: TLS from the first byte. */
  readonly security: 'plain' | 'explicit' | 'implicit';
}

/** Who logs in. For an anonymous login that is `anonymous` (or `ftp`) and an address such as `ferry@example.net`. */
export interface Login {
  readonly user: string;
  /** May be empty. */
  readonly password: string;
  /** For servers that answer 332. */
  readonly account: string | undefined;
}

/** One upload that steps of earlier ones travel with. It begins at the file's first byte. */
export interface ConvoyedTransfer extends WholeTransfer {
  readonly mode: 'EPSV' | 'PASV';
  readonly convoy: Convoy;
  /** The port for the data connection, where it was asked for behind the transfer before. */
  readonly port: number | undefined;
  /**
   * `ask`: ask for the next port behind the STOR. The server finds it in its buffer when the transfer has ended;
   * one that reads it before that is out of step.
   */
  readonly nextPort: 'ask' | 'leave';
}

/** A transfer that has no other place to begin at. */
export type WholeTransfer = Omit<TransferOptions, 'fromByte'>;

/** A listing, and whether anything says that it is whole. */
export interface ReceivedListing extends Listing {
  /**
   * `whole`: it ended as it should. `truncated`: the server said that it left out some of it, or all. `cut`: under TLS
   * the data ended without TLS's goodbye, so that somebody or something may have cut it.
   */
  readonly ending: 'whole' | 'truncated' | 'cut';
}

/** The body of one listing; a larger one is refused, since a server could send for ever. */
const LISTING_LIMIT_BYTES = 64 * 1024 * 1024;

/** One session with one server. Its methods may be called only one after the other, unless they say otherwise. */
export class FtpClient {
  readonly #control: ControlConnection;
  readonly #answers: Answers;
  readonly #transfers: Transfers;
  readonly #charset: Charset;

  private constructor(control: ControlConnection, options: ClientOptions) {
    this.#control = control;
    this.#answers = new Answers(control);
    this.#transfers = new Transfers(control, this.#answers, options);
    this.#charset = options.charset ?? UTF_8;
  }

  /**
   * Connects, reads the greeting and, where asked for, makes the connection secure: AUTH TLS, PBSZ 0, PROT P
   * before anything else, or TLS from the first byte.
   *
   * @throws {FtpError} with the phase `connect`, `greeting` or `tls`
   */
  static async connect(options: ClientOptions): Promise<FtpClient> {
    const control = await ControlConnection.connect(options);
    const client = new FtpClient(control, options);
    try {
      await client.#open(options);
      return client;
    } catch (error) {
      control.reset('the session could not be opened');
      throw error;
    }
  }

  async #open({ security, trust }: ClientOptions): Promise<void> {
    const control = this.#control;
    const answers = this.#answers;
    if (security === 'implicit') await control.secure(trust);
    answers.expect(await control.greeting(), 2, 'greeting', 'greeting', 'the greeting');
    if (security === 'explicit') {
      const auth = await control.send({ verb: 'AUTH', argument: 'TLS', phase: 'tls', next: 'tls' });
      answers.expect(auth, 2, 'tls', 'AUTH', 'AUTH TLS');
      await control.secure(trust);
    }
    if (security !== 'plain') {
      const [buffer, protection] = control.pipeline([
        { verb: 'PBSZ', argument: '0', phase: 'tls' },
        { verb: 'PROT', argument: 'P', phase: 'tls' },
      ]);
      answers.expect(await buffer, 2, 'tls', 'PBSZ');
      answers.expect(await protection, 2, 'tls', 'PROT', 'PROT P');
    }
  }

  /** Host and port, for messages. */
  get where(): string {
    return this.#control.where;
  }

  /** True once this client can send nothing more. */
  get ended(): boolean {
    return this.#control.ended;
  }

  /** True where the control connection runs over IPv6, where PASV and PORT cannot work. */
  get isIpv6(): boolean {
    return this.#control.family === 6;
  }

  // Opening a session.

  /**
   * HOST (RFC 7151): which of the servers at this address is meant. Before the login.
   *
   * @throws {FtpError} `reply` of phase `features` where the server does not know the command or the name
   */
  async host(name: string): Promise<void> {
    await this.#done('HOST', name, 'features');
  }

  /**
   * USER, PASS, ACCT (RFC 959 section 5.4), each only where the server asks for it: 230 may come after any of them.
   * Password and account are taken out of all that is said from now on.
   *
   * @throws {FtpError} phase `login`: `reply` with the server's answer, 332 among them where no account is known;
   *   `argument` for what cannot travel in a command
   */
  async login(login: Login): Promise<void> {
    let verb: 'USER' | 'PASS' | 'ACCT' = 'USER';
    const secret = (next: 'PASS' | 'ACCT', argument: string): Promise<Reply> => {
      verb = next;
      return this.#control.send({ verb, argument, phase: 'login', secrecy: 'secret' });
    };
    this.#control.hide(login.password);
    if (login.account !== undefined) this.#control.hide(login.account);
    let reply = await this.#control.send({ verb, argument: login.user, phase: 'login' });
    if (reply.code === 331) reply = await secret('PASS', login.password);
    if (reply.code === 332 && login.account !== undefined) reply = await secret('ACCT', login.account);
    this.#answers.expect(reply, 2, 'login', verb, 'the login');
  }

  /**
   * FEAT (RFC 2389 section 3): what the server says that it can do.
   *
   * @throws {FtpError} `reply` of phase `features` where the server does not know the command
   */
  async features(): Promise<Features> {
    return parseFeatures(await this.#done('FEAT', undefined, 'features'));
  }

  /**
   * OPTS (RFC 2389 section 4): sets an option of a command (`UTF8 ON`, `HASH SHA-256`).
   *
   * @throws {FtpError} as `features`
   */
  async option(text: string): Promise<void> {
    await this.#done('OPTS', text, 'features');
  }

  /**
   * CLNT, which no RFC describes: says who is speaking; some servers speak UTF-8 only to those who do.
   *
   * @throws {FtpError} as `features`
   */
  async introduce(name: string): Promise<void> {
    await this.#done('CLNT', name, 'features');
  }

  /** TYPE I (RFC 959 section 3.1.1): bytes as they are. Must come before SIZE and every transfer. */
  async useBinary(): Promise<void> {
    await this.#done('TYPE', 'I');
  }

  /** MODE S, bytes in a stream: the default of every server; some old ones want to hear it. */
  async useStream(): Promise<void> {
    await this.#done('MODE', 'S', 'features');
  }

  /** STRU F, files without records: the default, as with MODE. */
  async useFileStructure(): Promise<void> {
    await this.#done('STRU', 'F', 'features');
  }

  /** NOOP: whether the session still stands. Never during a transfer. */
  async ping(): Promise<void> {
    await this.#done('NOOP', undefined);
  }

  // Directories.

  /**
   * PWD (RFC 959 section 4.1.3, appendix II): the directory that the session is in.
   *
   * @returns undefined where the reply has no path in quotes, or its quote is not closed
   * @throws {FtpError} `reply` where the server refuses
   */
  async workingDirectory(): Promise<string | undefined> {
    return quotedPath(await this.#done('PWD', undefined));
  }

  /**
   * CWD: the session goes to another directory.
   *
   * @throws {FtpError} `reply` where the server refuses, `argument` for a path that cannot travel in a command
   */
  async changeDirectory(path: string): Promise<void> {
    await this.#done('CWD', path);
  }

  /** CDUP: to the directory above. Throws as `changeDirectory`. */
  async changeToParent(): Promise<void> {
    await this.#done('CDUP', undefined);
  }

  /**
   * MKD: one directory; those above it must be there.
   *
   * @throws {FtpError} as `changeDirectory`; a directory that exists is refused with 521 or 550
   */
  async makeDirectory(path: string): Promise<void> {
    await this.#done('MKD', path);
  }

  /**
   * RMD: one empty directory.
   *
   * @throws {FtpError} as `changeDirectory`
   */
  async removeDirectory(path: string): Promise<void> {
    await this.#done('RMD', path);
  }

  // Files.

  /**
   * SIZE (RFC 3659 section 4), in bytes. Counts only after `useBinary`.
   *
   * @throws {FtpError} `reply` of phase `features` where the server refuses, or tells no number
   */
  async size(path: string): Promise<number> {
    return sizeIn(await this.#send('SIZE', path, 'features'), this.#answers);
  }

  /**
   * MDTM (RFC 3659 section 3), in milliseconds since 1970 UTC.
   *
   * @throws {FtpError} `reply` of phase `features` where the server refuses, or tells no time
   */
  async modified(path: string): Promise<number> {
    const reply = await this.#done('MDTM', path, 'features');
    const time = timeIn(reply, this.#answers);
    if (time === undefined) throw this.#answers.unexpected(reply, 'features', 'MDTM');
    return time;
  }

  /** MDTM for many files in one write; undefined where a file has no readable time. */
  async modifiedAll(paths: readonly string[]): Promise<(number | undefined)[]> {
    const replies = await Promise.all(
      this.#control.pipeline(paths.map((path) => ({ verb: 'MDTM', argument: path, phase: 'features' }))),
    );
    const goodbye = replies.find(({ code }) => code === 421);
    if (goodbye !== undefined) throw this.#answers.unexpected(goodbye, 'features', 'MDTM');
    return replies.map((reply) => timeIn(reply, this.#answers));
  }

  /**
   * MLST (RFC 3659 section 7): one file or directory.
   *
   * @returns undefined where the reply holds no entry
   * @throws {FtpError} `reply` of phase `features` where the server refuses
   */
  async machineEntry(path: string): Promise<MachineEntry | undefined> {
    const reply = await this.#done('MLST', path, 'features');
    for (const line of reply.lines.slice(1, -1)) {
      const entry = parseMachineEntry(line);
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  /**
   * HASH, XSHA256, XSHA1, XMD5 or XCRC: the server's hash of a file, as hex digits in lower case. What HASH computes is
   * set before, by `option`.
   *
   * @param hashingMs how long the server may take for it, besides the time for any reply
   * @throws {FtpError} `reply` of phase `features` where the server refuses, or tells no such hash
   */
  async hash(path: string, form: HashForm, hashingMs: number): Promise<string> {
    const reply = await this.#control.send(hashCommand(path, form, hashingMs));
    this.#answers.done(reply, 'features', form.verb);
    const digest = digestIn(reply, form.algorithm);
    if (digest === undefined) throw this.#answers.unexpected(reply, 'features', form.verb);
    return digest;
  }

  /**
   * Size, hash where a form is named, and the setting of the time, in one write.
   *
   * @throws {FtpError} `reply` of phase `features` where the size is not told; refusals of the rest stand in the proof
   */
  async prove(step: ProveStep): Promise<Proof> {
    return proven(this.#control.pipeline(proofCommands(step)), step, this.#answers);
  }

  /**
   * MFMT (draft-somers-ftp-mfxx), MDTM with a time, or SITE UTIME: sets a file's modification time, whole seconds.
   *
   * @param modifiedMs milliseconds since 1970 UTC
   * @throws {FtpError} `reply` of phase `features` where the server refuses
   */
  async setModified(path: string, modifiedMs: number, form: SetTimeForm): Promise<void> {
    const reply = await this.#control.send(setTimeCommand(path, modifiedMs, form));
    this.#answers.done(reply, 'features', form === 'SITE UTIME' ? 'SITE' : form, form);
  }

  /**
   * SITE CHMOD, which no RFC describes: the permission bits of a file, such as 0o644.
   *
   * @throws {FtpError} `reply` of phase `features` where the server refuses
   */
  async setPermissions(path: string, mode: number): Promise<void> {
    const reply = await this.#control.send(permissionsCommand(path, mode));
    this.#answers.done(reply, 'features', 'SITE');
  }

  /**
   * DELE: one file.
   *
   * @throws {FtpError} as `changeDirectory`
   */
  async remove(path: string): Promise<void> {
    await this.#done('DELE', path);
  }

  /**
   * RNFR and RNTO (RFC 959 section 4.1.3) in one write. Most servers replace a file that has the new name.
   *
   * @throws {FtpError} as `changeDirectory`; its verb tells which of the two was refused
   */
  async rename(from: string, to: string): Promise<void> {
    await renamed(this.#control.pipeline(renameCommands({ from, to })), this.#answers);
  }

  /**
   * ALLO: room for so many bytes. Hardly any server needs it; many answer 202, which is a success here.
   *
   * @throws {FtpError} `reply` where the server refuses (552 where there is no such room), `argument` for no size
   */
  async allocate(sizeBytes: number): Promise<void> {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) {
      throw new FtpError('argument', `${this.where} cannot be asked for room for ${sizeBytes} bytes.`, {
        phase: 'command',
        verb: 'ALLO',
      });
    }
    await this.#done('ALLO', String(sizeBytes));
  }

  /**
   * STAT: what the server says of itself, or of a path; lines as sent, not safe to print. Of a directory that is a
   * listing, and one too large for a reply ends the session.
   *
   * @throws {FtpError} as `changeDirectory`
   */
  async status(path?: string): Promise<readonly string[]> {
    return (await this.#answered('STAT', path)).lines;
  }

  /**
   * SITE: a command of this server's own; lines as sent, not safe to print.
   *
   * @throws {FtpError} as `changeDirectory`
   */
  async site(text: string): Promise<readonly string[]> {
    return (await this.#answered('SITE', text)).lines;
  }

  /**
   * ABOR while no transfer runs. One that runs is ended by its signal, since servers disagree on ABOR then.
   *
   * @throws {FtpError} `reply` where the server refuses
   */
  async abort(): Promise<void> {
    await this.#answered('ABOR', undefined);
  }

  // Transfers.

  /**
   * STOR: sends the source to a file, from `fromByte` on where that is told (the source then gives the rest only).
   *
   * @returns the number of bytes sent
   * @throws as `Transfers.run`
   */
  async store(path: string, source: AsyncIterable<Buffer>, options: TransferOptions): Promise<number> {
    return (await this.#transfers.run('STOR', path, options, sending(source))).value;
  }

  /** APPE: as `store`, behind the end of what is there. */
  async append(path: string, source: AsyncIterable<Buffer>, options: WholeTransfer): Promise<number> {
    return (await this.#transfers.run('APPE', path, options, sending(source))).value;
  }

  /**
   * RETR: hands a file's bytes to the sink, from `fromByte` on where that is told. Each piece is the sink's until its
   * promise resolves. Their number is not checked here.
   *
   * @returns the number of bytes received
   * @throws as `Transfers.run`
   */
  async retrieve(
    path: string,
    sink: (chunk: Buffer) => Promise<void>,
    options: TransferOptions,
  ): Promise<number> {
    return (await this.#transfers.run('RETR', path, options, receiving(sink))).value.bytes;
  }

  /**
   * STOR in a convoy: the last steps of earlier uploads, this STOR and the question for the next port in one
   * packet, sent together with the SYN of the data connection: two round trips a file, and three where the server
   * waits for our word on its end of the data before its final reply (vsftpd). Where the port is not known, it is
   * asked for together with the convoy: one more.
   *
   * @returns the number of bytes sent, and the next port where it was asked for and told
   * @throws as `store`; the steps of the convoy have heard their own ends by then
   */
  async storeInConvoy(
    path: string,
    source: AsyncIterable<Buffer>,
    options: ConvoyedTransfer,
  ): Promise<{ bytes: number; nextPort: number | undefined }> {
    const { convoy } = options;
    const steps = convoyCommands(convoy);
    const behind: Command[] =
      options.nextPort === 'ask' && fitsPacket(steps, path) ? [{ verb: 'EPSV', phase: 'data-setup' }] : [];
    let { port } = options;
    let ahead = steps;
    let next: Promise<Reply> | undefined;
    try {
      this.#transfers.unlessAborted(options.signal, 'STOR');
      if (port === undefined) {
        ahead = [];
        port = await this.#portWithConvoy(convoy, options.mode);
      }
      const packet: Packet = {
        ahead,
        behind,
        port,
        onSent: (replies) => {
          if (ahead.length > 0) this.#tell(convoy, replies.slice(0, ahead.length));
          if (behind.length > 0) next = replies.at(-1);
          ahead = [];
        },
      };
      const { value: bytes } = await this.#transfers.run('STOR', path, options, sending(source), { packet });
      const answer = await next?.catch(() => undefined);
      return { bytes, nextPort: answer === undefined ? undefined : extendedPassivePort(answer) };
    } catch (error) {
      // What never left has no reply to wait for.
      if (ahead.length > 0)
        this.#tell(
          convoy,
          ahead.map(() => Promise.reject(error)),
        );
      throw error;
    }
  }

  /** A convoy by itself, in one write: nothing more is to be sent. Throws nothing; each step hears its own end. */
  settle(convoy: Convoy): void {
    this.#tell(convoy, this.#control.pipeline(convoyCommands(convoy)));
  }

  /**
   * Looks whether a path can travel in a command.
   *
   * @throws {FtpError} kind `argument`
   */
  checkPath(path: string): void {
    this.#control.check({ verb: 'STOR', argument: path, phase: 'transfer' });
  }

  // Listings.

  /**
   * MLSD (RFC 3659 section 7) of a directory.
   *
   * @throws as `Transfers.run`; `malformed` for a listing over 64 MiB, and the session is over
   */
  async machineListing(path: string, options: WholeTransfer): Promise<ReceivedListing> {
    const { body, ending } = await this.#listing('MLSD', path, options);
    return { ...parseMachineListing(body, this.#charset), ending };
  }

  /**
   * LIST of the directory that the session is in, or of a path for servers where nobody knows how to come
   * back; hidden files with it (`-a`, and plainly where the server does not understand that).
   *
   * @throws as `machineListing`
   */
  async listing(options: WholeTransfer, path?: string): Promise<ReceivedListing> {
    const parsed = ({ body, ending }: ListingBody): ReceivedListing => ({
      ...parseListing(body, this.#charset, { nowMs: Date.now() }),
      ending,
    });
    try {
      const all = await this.#listing('LIST', path === undefined ? '-a' : `-a ${path}`, options);
      if (showsItself(all.body)) return parsed(all);
    } catch (error) {
      // A server without the option looks for a file called `-a`.
      const answered = error instanceof FtpError && error.kind === 'reply' && error.phase === 'transfer';
      const code = answered ? error.reply?.code : undefined;
      if (code === undefined || (code < 500 && code !== 450)) throw error;
    }
    return parsed(await this.#listing('LIST', path, options));
  }

  /**
   * NLST of the directory that the session is in, or of a path: names alone, without that path in front of them.
   * Undecodable ones as shown.
   *
   * @throws as `machineListing`; {FtpError} `data` where the list did not end as it should, for nothing else in a list
   *   of names could show that some are missing. The session goes on.
   */
  async names(options: WholeTransfer, path?: string): Promise<readonly string[]> {
    const { body, ending } = await this.#listing('NLST', path, options);
    const { names, cut } = parseNames(body, this.#charset, path);
    if (ending === 'whole' && !cut) return names;
    const what = ending === 'truncated' ? 'left some out, as it says itself' : 'ended in the middle';
    throw new FtpError('data', `The list of names from ${this.where} is not whole: it ${what}.`, {
      phase: 'transfer',
      verb: 'NLST',
    });
  }

  // The end.

  /** QUIT, and close; resolves when the connection is closed, at the latest after a second. Safe to call twice. */
  async quit(): Promise<void> {
    await this.#control.quit();
  }

  /** Ends the session at once, by TCP reset, and rejects what waits. Safe to call at any time, also twice. */
  reset(why: string): void {
    this.#control.reset(why);
  }

  /** As `reset`, where it is the server's doing: what waits is lost, and not called off by us. */
  breakOff(why: string): void {
    this.#control.breakOff(why);
  }

  async #portWithConvoy(convoy: Convoy, mode: 'EPSV' | 'PASV'): Promise<number> {
    const steps = convoyCommands(convoy);
    const replies = this.#control.pipeline([...steps, { verb: mode, phase: 'data-setup' } as const]);
    this.#tell(convoy, replies.slice(0, steps.length));
    const [answer] = replies.slice(steps.length);
    if (answer === undefined) throw new Error('a question without its answer');
    return this.#transfers.portIn(await answer, mode);
  }

  #tell(convoy: Convoy, replies: readonly Promise<Reply>[]): void {
    tellConvoy(convoy, replies, this.#answers);
  }

  async #listing(
    verb: 'MLSD' | 'LIST' | 'NLST',
    argument: string | undefined,
    options: WholeTransfer,
  ): Promise<ListingBody> {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const sink = async (chunk: Buffer): Promise<void> => {
      sizeBytes += chunk.length;
      if (sizeBytes > LISTING_LIMIT_BYTES) {
        const message = `${this.where} sent a listing of over ${LISTING_LIMIT_BYTES} bytes.`;
        throw new FtpError('malformed', message, { phase: 'transfer', verb });
      }
      chunks.push(Buffer.from(chunk));
    };
    const { value, reply } = await this.#transfers.run(verb, argument, options, receiving(sink), {
      goodbye: 'observed',
    });
    // Only here does Pure-FTPd say that it stopped after 10,000 entries, and does vsftpd say that it could not open the
    // directory of which it has just sent an empty listing.
    const truncated = /truncated|failed to open|unable to read/i.test(reply.lines.join(' '));
    return {
      body: Buffer.concat(chunks),
      ending: truncated ? 'truncated' : value.ended === 'cut' ? 'cut' : 'whole',
    };
  }

  #send(verb: string, argument: string | undefined, phase: Phase = 'command'): Promise<Reply> {
    return this.#control.send({ verb, argument, phase });
  }

  /** A verb whose only good answer is a 2yz that belongs to no transfer. */
  async #done(verb: string, argument: string | undefined, phase: Phase = 'command'): Promise<Reply> {
    const shown = argument !== undefined && ['TYPE', 'OPTS'].includes(verb) ? `${verb} ${argument}` : verb;
    return this.#answers.done(await this.#send(verb, argument, phase), phase, verb, shown);
  }

  /** A verb whose good answer is any 2yz. */
  async #answered(verb: string, argument: string | undefined): Promise<Reply> {
    return this.#answers.expect(await this.#send(verb, argument), 2, 'command', verb);
  }
}

interface ListingBody {
  readonly body: Buffer;
  readonly ending: ReceivedListing['ending'];
}

function sending(source: AsyncIterable<Buffer>): Move<number> {
  return async (data: DataConnection) => {
    const bytes = await data.send(source);
    return { value: bytes, finish: () => data.closed() };
  };
}

function receiving(
  sink: (chunk: Buffer) => Promise<void>,
): Move<{ bytes: number; ended: 'cleanly' | 'cut' }> {
  return async (data: DataConnection) => ({ value: await data.receive(sink), finish: async () => {} });
}
