/*
 * What a scripted server may be told about itself: accounts, TLS, features, words, and the ways of known servers
 * (`serverLike`). Behaviour that lasts is a setting here; what goes wrong at one moment is a rule in fault.ts.
 */

export type Feature =
  | 'ALLO'
  | 'APPE'
  | 'CLNT'
  | 'EPRT'
  | 'EPSV'
  | 'FEAT'
  | 'HASH'
  | 'HOST'
  | 'MDTM'
  /** `MDTM YYYYMMDDHHMMSS path` sets the time, as vsftpd does. */
  | 'MDTM-SET'
  | 'MFMT'
  | 'MLSD'
  | 'MLST'
  | 'PASV'
  | 'PORT'
  | 'REST'
  /** REST before STOR; where it is off that STOR gets 451, as ProFTPD does by default. */
  | 'REST-STOR'
  | 'SITE-CHMOD'
  | 'SITE-UTIME'
  | 'SIZE'
  | 'TVFS'
  | 'UTF8'
  | 'XCRC'
  | 'XMD5'
  | 'XSHA1'
  | 'XSHA256';

/** Texts a test may change; `\n` inside makes a reply of several lines. */
export interface ReplyTexts {
  readonly greeting: string;
  readonly needPassword: string;
  readonly loggedIn: string;
  readonly loginWrong: string;
  readonly tooMany: string;
  readonly idle: string;
  readonly goodbye: string;
  readonly system: string;
  /** In front of a transfer. */
  readonly mark: string;
  readonly stored: string;
  readonly sent: string;
  readonly listed: string;
  /** STOR, APPE or MKD that the disk refused; the reason stands behind it. */
  readonly storeRefused: string;
  readonly renameRefused: string;
  /** A command that is not there, or a feature that is off. */
  readonly unknownCommand: string;
  /** The path comes with its quotes doubled already. */
  pwd(path: string): string;
  /** `address` has its octets joined by commas, as PASV writes them. */
  pasv(address: string, high: number, low: number): string;
  epsv(port: number): string;
  /** All the lines between the first and the last, each without CRLF. */
  features(lines: readonly string[]): string;
}

export interface KeyAndCertificate {
  /** PEM; a chain may follow the certificate. */
  readonly cert: string;
  readonly key: string;
}

export interface FtpServerOptions {
  /** Directory that is the server's `/`; nothing outside it is ever touched. Must exist. */
  readonly root: string;
  /** Loopback address to listen on; `127.0.0.1` unless told. */
  readonly host?: '127.0.0.1' | '::1';
  /** 0 (a free one) unless told. */
  readonly port?: number;
  /** Accounts, name to password; `{ ferry: 'secret' }` unless told. */
  readonly users?: Readonly<Record<string, string>>;
  /** Lets `anonymous` and `ftp` in with any password. */
  readonly anonymous?: boolean;
  /** Asks for ACCT behind PASS (332) and wants this word. */
  readonly account?: string;
  /** Directory after the login, absolute on the server; made where it is missing. `/` unless told. */
  readonly home?: string;
  /** `explicit` is AUTH TLS, `implicit` TLS from the first byte; both need a certificate. `plain` unless told. */
  readonly security?: 'plain' | 'explicit' | 'implicit';
  /** Refuses USER before AUTH, and data connections without PROT P. */
  readonly requireTls?: boolean;
  readonly certificate?: KeyAndCertificate;
  /** PEM of the CA that client certificates must come from; unset asks for none. */
  readonly clientCa?: string;
  readonly tlsVersions?: { readonly min?: 'TLSv1.2' | 'TLSv1.3'; readonly max?: 'TLSv1.2' | 'TLSv1.3' };
  /**
   * The data connection must resume a session of its own control connection. `vsftpd` (the same as `true`) answers
   * 522 and then closes the control connection, `proftpd` answers 425 and goes on.
   */
  readonly requireSessionReuse?: boolean | 'vsftpd' | 'proftpd';
  /** Switches features on or off; all are on but HASH, HOST, XCRC, XMD5, XSHA1 and XSHA256. */
  readonly features?: Readonly<Partial<Record<Feature, boolean>>>;
  /** Control connections at once; one more gets `tooMany`. */
  readonly maxConnections?: number;
  /** Where it gets it: in place of the greeting (421), or in place of the 230 (530). `greeting` unless told. */
  readonly tooManyAt?: 'greeting' | 'login';
  /** False: RNTO onto an existing file is 550, as on IIS. */
  readonly renameOverwrites?: boolean;
  /** How LIST looks: `dos` has two-digit years, `dos4` four-digit ones. `unix` unless told. */
  readonly listing?: 'unix' | 'dos' | 'dos4';
  /** How far the clock of LIST is from UTC. */
  readonly listingOffsetMinutes?: number;
  /** LIST, NLST and MLSD of something missing: `550`, `450` (ProFTPD), or an `empty` listing with a 226 (vsftpd). */
  readonly missingListing?: '550' | '450' | 'empty';
  /** Entries a listing may have; more are left out, and only the final reply's text says so (Pure-FTPd). */
  readonly listingLimit?: number;
  /** MLSD and MDTM times with milliseconds. */
  readonly fractionalTimes?: boolean;
  /**
   * What becomes of odd names: `bytes` stores them as they are, `pure-ftpd` turns control characters and leading or
   * trailing spaces into `_`, `pyftpdlib` turns bytes that are no UTF-8 into U+FFFD, `caseless` and `formless` take a
   * name for one that is there already and differs only in case, or in its Unicode form.
   */
  readonly names?: 'bytes' | 'pure-ftpd' | 'pyftpdlib' | 'caseless' | 'formless';
  /** Takes IAC IAC for one byte 0xFF, as ProFTPD does. */
  readonly telnet?: 'ignored' | 'interpreted';
  /**
   * Commands in one packet are always taken in order. What differs is a transfer: with `any` whatever arrives
   * during it waits; `proftpd` answers 450 at once; `pure-ftpd` answers 500 at once and throws the rest of the packet
   * away; `pyftpdlib` does not wait for transfers at all, so that an EPSV behind STOR kills the transfer.
   */
  readonly pipelining?: 'any' | 'proftpd' | 'pure-ftpd' | 'pyftpdlib';
  /** 421 after so long without a command; never unless told. */
  readonly idleMs?: number;
  /** How long a transfer command waits for its data connection before 425; 5000 unless told. */
  readonly dataTimeoutMs?: number;
  readonly replies?: Partial<ReplyTexts>;
}

/** Options with every gap filled. */
export interface Settings
  extends Required<
    Omit<
      FtpServerOptions,
      'certificate' | 'clientCa' | 'account' | 'features' | 'replies' | 'requireSessionReuse'
    >
  > {
  readonly certificate: KeyAndCertificate | undefined;
  readonly clientCa: string | undefined;
  readonly account: string | undefined;
  readonly features: Readonly<Record<Feature, boolean>>;
  readonly replies: ReplyTexts;
  readonly requireSessionReuse: 'no' | 'vsftpd' | 'proftpd';
}

const allFeatures: Readonly<Record<Feature, boolean>> = {
  ALLO: true,
  APPE: true,
  CLNT: true,
  EPRT: true,
  EPSV: true,
  FEAT: true,
  HASH: false,
  HOST: false,
  MDTM: true,
  'MDTM-SET': true,
  MFMT: true,
  MLSD: true,
  MLST: true,
  PASV: true,
  PORT: true,
  REST: true,
  'REST-STOR': true,
  'SITE-CHMOD': true,
  'SITE-UTIME': true,
  SIZE: true,
  TVFS: true,
  UTF8: true,
  XCRC: false,
  XMD5: false,
  XSHA1: false,
  XSHA256: false,
};

const words: ReplyTexts = {
  greeting: '220 Scripted server ready.',
  needPassword: '331 Please specify the password.',
  loggedIn: '230 Login successful.',
  loginWrong: '530 Login incorrect.',
  tooMany: '421 There are too many connected users, please try later.',
  idle: '421 Timeout.',
  goodbye: '221 Goodbye.',
  system: '215 UNIX Type: L8',
  mark: '150 Ok to go.',
  stored: '226 Transfer complete.',
  sent: '226 Transfer complete.',
  listed: '226 Directory send OK.',
  storeRefused: '553 Could not create file.',
  renameRefused: '550 Rename failed.',
  unknownCommand: '500 Unknown command.',
  pwd: (path) => `257 "${path}" is the current directory`,
  pasv: (address, high, low) => `227 Entering Passive Mode (${address},${high},${low}).`,
  epsv: (port) => `229 Entering Extended Passive Mode (|||${port}|)`,
  features: (lines) => ['211-Features:', ...lines.map((line) => ` ${line}`), '211 End'].join('\n'),
};

/**
 * Fills the gaps.
 *
 * @throws Error where TLS is asked for without a certificate, or `home` is not absolute
 */
export function settle(options: FtpServerOptions): Settings {
  const security = options.security ?? 'plain';
  if (security !== 'plain' && options.certificate === undefined) {
    throw new Error(`A scripted server with security '${security}' needs a certificate`);
  }
  const home = options.home ?? '/';
  if (!home.startsWith('/')) throw new Error(`home is absolute on the server, not ${JSON.stringify(home)}`);
  const reuse = options.requireSessionReuse ?? false;
  return {
    root: options.root,
    host: options.host ?? '127.0.0.1',
    port: options.port ?? 0,
    users: options.users ?? { ferry: 'secret' },
    anonymous: options.anonymous ?? false,
    account: options.account,
    home,
    security,
    requireTls: options.requireTls ?? false,
    certificate: options.certificate,
    clientCa: options.clientCa,
    tlsVersions: options.tlsVersions ?? {},
    requireSessionReuse: reuse === true ? 'vsftpd' : reuse === false ? 'no' : reuse,
    features: { ...allFeatures, ...options.features },
    maxConnections: options.maxConnections ?? Number.POSITIVE_INFINITY,
    tooManyAt: options.tooManyAt ?? 'greeting',
    renameOverwrites: options.renameOverwrites ?? true,
    listing: options.listing ?? 'unix',
    listingOffsetMinutes: options.listingOffsetMinutes ?? 0,
    missingListing: options.missingListing ?? '550',
    listingLimit: options.listingLimit ?? Number.POSITIVE_INFINITY,
    fractionalTimes: options.fractionalTimes ?? false,
    names: options.names ?? 'bytes',
    telnet: options.telnet ?? 'ignored',
    pipelining: options.pipelining ?? 'any',
    idleMs: options.idleMs ?? 0,
    dataTimeoutMs: options.dataTimeoutMs ?? 5000,
    replies: { ...words, ...options.replies },
  };
}

type Like = 'vsftpd' | 'proftpd' | 'pure-ftpd' | 'pyftpdlib' | 'iis' | 'filezilla' | 'windows-ce' | 'printer';

/**
 * The ways of known servers, to be spread into the options: `{ root, ...serverLike('vsftpd') }`. As far as they were
 * measured; session reuse is set for those that insist on it, and counts only under TLS.
 */
export function serverLike(name: Like): Omit<FtpServerOptions, 'root'> {
  return likes[name];
}

const likes: Readonly<Record<Like, Omit<FtpServerOptions, 'root'>>> = {
  vsftpd: {
    features: { MLSD: false, MLST: false, MFMT: false, HASH: false, CLNT: false },
    requireSessionReuse: 'vsftpd',
    missingListing: 'empty',
  },
  proftpd: {
    features: { 'MDTM-SET': false, 'REST-STOR': false, HASH: true, HOST: true, 'SITE-UTIME': true },
    requireSessionReuse: 'proftpd',
    missingListing: '450',
    pipelining: 'proftpd',
    telnet: 'interpreted',
    replies: { storeRefused: '550 Permission denied.', mark: '150 Opening BINARY mode data connection' },
  },
  'pure-ftpd': {
    features: { 'MDTM-SET': false },
    listingLimit: 10_000,
    names: 'pure-ftpd',
    pipelining: 'pure-ftpd',
    replies: { unknownCommand: '504 Unknown command', mark: '150 Accepted data connection' },
  },
  pyftpdlib: {
    features: { 'MDTM-SET': false, 'SITE-UTIME': false, CLNT: false },
    names: 'pyftpdlib',
    pipelining: 'pyftpdlib',
    replies: { storeRefused: '550 Permission denied.' },
  },
  iis: {
    features: {
      MLSD: false,
      MLST: false,
      MFMT: false,
      'MDTM-SET': false,
      'SITE-UTIME': false,
      'SITE-CHMOD': false,
    },
    renameOverwrites: false,
    listing: 'dos',
    replies: {
      greeting: '220 Microsoft FTP Service',
      system: '215 Windows_NT',
      loggedIn: '230 User logged in.',
      mark: '125 Data connection already open; Transfer starting.',
      storeRefused: '550 Access is denied.',
      renameRefused: '550 Cannot create a file when that file already exists.',
    },
  },
  filezilla: {
    features: { 'MDTM-SET': false, 'SITE-UTIME': false, 'SITE-CHMOD': false },
    requireSessionReuse: 'proftpd',
    replies: {
      greeting: '220-FileZilla Server\n220 Please visit https://filezilla-project.org/',
      system: '215 UNIX emulated by FileZilla.',
      mark: '150 About to start data transfer.',
      stored: '226 Operation successful',
      sent: '226 Operation successful',
      storeRefused: '550 Permission denied',
    },
  },
  'windows-ce': {
    features: {
      ALLO: false,
      APPE: false,
      CLNT: false,
      EPRT: false,
      EPSV: false,
      FEAT: false,
      MDTM: false,
      'MDTM-SET': false,
      MFMT: false,
      MLSD: false,
      MLST: false,
      REST: false,
      'SITE-CHMOD': false,
      'SITE-UTIME': false,
      TVFS: false,
      UTF8: false,
    },
    renameOverwrites: false,
    listing: 'dos4',
    replies: {
      greeting: '220 Service ready for new user.',
      system: '215 Windows_CE version 5.0',
      loggedIn: '230 User logged in, proceed.',
      unknownCommand: '502 Command not implemented.',
      storeRefused: '550 Requested action not taken.',
      renameRefused: '550 Requested action not taken. File exists.',
    },
  },
  printer: {
    features: {
      ALLO: false,
      APPE: false,
      CLNT: false,
      EPRT: false,
      EPSV: false,
      FEAT: false,
      MDTM: false,
      'MDTM-SET': false,
      MFMT: false,
      MLSD: false,
      MLST: false,
      REST: false,
      'SITE-CHMOD': false,
      'SITE-UTIME': false,
      SIZE: false,
      TVFS: false,
      UTF8: false,
    },
    maxConnections: 1,
    replies: { unknownCommand: '502 Command not implemented.' },
  },
};
