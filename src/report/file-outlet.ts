/*
 * The stream through which lines reach the log file, whichever that is at the moment: a reload may name another, or
 * none. What was on its way to the former file is still written there.
 */
import { Writable } from 'node:stream';
import { LogFile, type LogFileOptions, type LogFileSettings } from './logfile.js';

/** Ended, it is finished when all files have been let go. Never fails. */
export class FileOutlet extends Writable {
  readonly #options: LogFileOptions;
  #current: { readonly path: string; readonly file: LogFile } | undefined;
  readonly #closing = new Set<Promise<void>>();

  constructor(options: LogFileOptions) {
    super({ decodeStrings: false });
    this.#options = options;
  }

  /** @param settings undefined where there is no file any more */
  configure(settings: LogFileSettings | undefined): void {
    if (settings !== undefined && settings.path === this.#current?.path) {
      this.#current.file.configure(settings);
      return;
    }
    this.#letGo();
    if (settings === undefined) return;
    this.#current = { path: settings.path, file: new LogFile(settings, this.#options) };
  }

  override _write(line: string, _encoding: BufferEncoding, done: () => void): void {
    this.#current?.file.write(line);
    done();
  }

  override _final(done: () => void): void {
    this.#letGo();
    void Promise.all(this.#closing).then(() => done());
  }

  #letGo(): void {
    if (this.#current === undefined) return;
    const closing = this.#current.file.close();
    this.#current = undefined;
    this.#closing.add(closing);
    void closing.then(() => this.#closing.delete(closing));
  }
}
