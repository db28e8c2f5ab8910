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
  /** Files that were let go and still write, by path: whoever takes up the path again comes behind them. */
  readonly #closing = new Map<string, Promise<void>>();

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
    const { path } = settings;
    this.#current = { path, file: new LogFile(settings, this.#options, this.#closing.get(path)) };
  }

  override _write(line: string, _encoding: BufferEncoding, done: () => void): void {
    this.#current?.file.write(line);
    done();
  }

  override _final(done: () => void): void {
    this.#letGo();
    void Promise.all(this.#closing.values()).then(() => done());
  }

  #letGo(): void {
    if (this.#current === undefined) return;
    const { path, file } = this.#current;
    const closing = file.close();
    this.#current = undefined;
    this.#closing.set(path, closing);
    void closing.then(() => {
      if (this.#closing.get(path) === closing) this.#closing.delete(path);
    });
  }
}
