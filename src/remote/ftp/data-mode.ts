/*
 * Which side opens the data connections of a server, found out by trying: EPSV is simply tried, PASV is IPv4's second
 * choice, and where the server or what lies between lets no connection in, it is asked to open them (EPRT, PORT).
 * A mode that is refused is left at once; one that leads nowhere is left at its first failure where it has never
 * worked, and else at the third in a row, because links break for other reasons too. Sessions that fail side by side
 * have met one and the same break: that is one failure.
 */
import type { DataMode } from '../../ftp/client.js';
import { FtpError } from '../../ftp/errors.js';
import { judge } from '../failure.js';
import type { FtpProfile } from './profile.js';

export type DataModeSetting = 'auto' | 'passive' | 'active';

const MODES: Readonly<Record<DataModeSetting, readonly DataMode[]>> = {
  auto: ['EPSV', 'PASV', 'EPRT', 'PORT'],
  passive: ['EPSV', 'PASV'],
  active: ['EPRT', 'PORT'],
};

/** RFC 959 has only IPv4 addresses in PASV and PORT. */
const IPV4_ONLY: readonly DataMode[] = ['PASV', 'PORT'];

/** How often in a row a mode that has worked may lead nowhere. */
const PATIENCE = 3;

export interface DataModesOptions {
  readonly setting: DataModeSetting;
  readonly family: 'IPv4' | 'IPv6';
  /** Host and port, for messages. */
  readonly where: string;
  readonly profile: FtpProfile;
}

export class DataModes {
  readonly #options: DataModesOptions;
  readonly #modes: readonly DataMode[];
  /** What the server refused on this session. */
  readonly #refused = new Set<DataMode>();
  /** How long the row of failures was when this session began, or last failed. */
  #row: number;

  constructor(options: DataModesOptions) {
    this.#options = options;
    this.#row = options.profile.streaks.dataSetups;
    this.#modes = MODES[options.setting].filter(
      (mode) => options.family === 'IPv4' || !IPV4_ONLY.includes(mode),
    );
  }

  /** The mode to take now. */
  get current(): DataMode {
    const { dataMode } = this.#options.profile.facts;
    return this.#modes.includes(dataMode) ? dataMode : (this.#modes[0] ?? 'EPSV');
  }

  /** A transfer has gone through in this mode. */
  worked(mode: DataMode): void {
    const { profile } = this.#options;
    profile.streaks.dataSetups = 0;
    // Another session may have turned to another mode in the meantime; it has its reasons.
    if (mode !== this.current) return;
    profile.note('dataMode', mode);
    profile.note('dataModeWorks', true);
  }

  /**
   * What a transfer that failed says about the mode that it took; remembers it. Another session may have learned the
   * same in the meantime.
   *
   * @returns true where the mode was refused, and the same session can go on with the next one
   * @throws {FtpError} `unwilling` where the server has refused them all
   */
  goesOnAfter(error: unknown, mode: DataMode): boolean {
    if (!(error instanceof FtpError)) return false;
    if (error.phase === 'data-setup' && error.kind === 'reply' && judge(error).decision === 'fallback') {
      this.#refused.add(mode);
      if (!this.#refused.has(this.current)) return true;
      const next = this.#after(this.current);
      if (next === undefined) throw this.#noneLeft(error);
      this.#turn(next, `${this.#options.where} refuses ${mode}: ${next} is used.`);
      return true;
    }
    if (leadsNowhere(error) && mode === this.current) this.#nowhere(mode);
    return false;
  }

  /** The way was agreed on, and nobody came: the other modes may lead elsewhere, on a new connection. */
  #nowhere(mode: DataMode): void {
    const { profile, where } = this.#options;
    const { streaks } = profile;
    const sameBreak = this.#row < streaks.dataSetups;
    if (!sameBreak) streaks.dataSetups += 1;
    this.#row = streaks.dataSetups;
    if (sameBreak || streaks.dataSetups < (profile.facts.dataModeWorks ? PATIENCE : 1)) return;
    const next = this.#after(mode);
    if (next === undefined) return;
    this.#turn(next, `No data connection with ${where} comes about with ${mode}: ${next} is tried next.`);
  }

  #turn(next: DataMode, sentence: string): void {
    const { profile } = this.#options;
    profile.streaks.dataSetups = 0;
    profile.note('dataModeWorks', false);
    profile.learn('dataMode', next, sentence);
  }

  /** The next in a circle that was not refused. */
  #after(mode: DataMode): DataMode | undefined {
    const place = this.#modes.indexOf(mode);
    const circle = [...this.#modes.slice(place + 1), ...this.#modes.slice(0, place)];
    return circle.find((candidate) => !this.#refused.has(candidate));
  }

  #noneLeft(error: FtpError): FtpError {
    const { setting, where } = this.#options;
    const tried = this.#modes.join(this.#modes.length === 2 ? ' and ' : ', ');
    const advice =
      setting === 'auto'
        ? 'Its settings for data connections (passive ports, active mode) are off or wrong.'
        : `Take dataConnection: ${setting} away, and the other modes are tried.`;
    return new FtpError(
      'unwilling',
      `${where} agrees to no data connection (${tried} were refused; the last answer was ${error.message}). ${advice}`,
      { phase: 'data-setup', verb: error.verb, reply: error.reply, cause: error },
    );
  }
}

/** No connection stood in time, in whichever direction it was to be made. */
function leadsNowhere(error: FtpError): boolean {
  if (error.phase === 'data-setup') return ['data', 'timeout', 'malformed'].includes(error.kind);
  return isLackOfData(error);
}

/** 425 for the usual reason: the server waited, or tried to connect, in vain. */
export function isLackOfData(error: unknown): boolean {
  return (
    error instanceof FtpError &&
    error.kind === 'reply' &&
    error.phase === 'transfer' &&
    error.reply?.code === 425 &&
    !isAboutReuse(error)
  );
}

/** The server refused a data connection because it did not resume the control connection's TLS session. */
export function isAboutReuse(error: unknown): boolean {
  return (
    error instanceof FtpError &&
    error.kind === 'reply' &&
    error.phase === 'transfer' &&
    [425, 450, 522].includes(error.reply?.code ?? 0) &&
    /\b(tls|ssl|session|reuse)\b/i.test(error.reply?.lines.join(' ') ?? '')
  );
}
