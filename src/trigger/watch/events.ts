/*
 * The system's events for one tree, by chokidar (the only importer). Only directories are watched, never single files:
 * one kernel watch each instead of one a file. Symbolic links are not followed. It says where something changed, if it
 * knows, and never what; and it says nothing at all for what the kernel dropped (protocol.md, "Local side"): the kernel
 * keeps 16,384 events and forgets the rest without a word to Node, so a storm of events is told, long before that many,
 * and the caller scans.
 */
import { basename, join, relative, sep } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';
import type { Hint } from './hints.js';

/**
 * chokidar reads a whole directory again for an event in it, back to back while events go on (measured: 3,000 new files
 * cost 13 s of processor). So many events within a second are a storm, and who hears of it closes this for a while.
 */
const STORM_EVENTS = 64;
const STORM_WINDOW_MS = 1_000;

export interface EventsOptions {
  /** The real path of the watched root. */
  readonly root: string;
  /** True for what does not matter, a path below the root; what is below it is not watched. */
  readonly ignores: (path: string) => boolean;
  /** All directories are watched. */
  readonly onReady: () => void;
  readonly onHint: (hint: Hint) => void;
  /** The root went away. */
  readonly onRootGone: () => void;
  /** More happens than can be listened to. `noise`: all of it with what is ignored. */
  readonly onStorm: (kind: 'changes' | 'noise') => void;
  readonly onError: (error: unknown) => void;
}

export class Events {
  readonly #options: EventsOptions;
  readonly #watcher: FSWatcher;
  #closed: Promise<void> | undefined;
  /** Events since `#windowMs`, and those among them that matter. */
  #events = 0;
  #changes = 0;
  #windowMs = 0;

  /** Begins to open; what fails is told. */
  constructor(options: EventsOptions) {
    this.#options = options;
    const { root } = options;
    // chokidar turns backslashes into slashes: in a path that it is given (so it gets `cwd`), and in what it shows.
    const shown = sep === '/' ? root.replaceAll('\\', '/') : root;
    this.#watcher = watch('.', {
      cwd: root,
      persistent: true,
      ignoreInitial: true,
      followSymlinks: false,
      atomic: false,
      usePolling: false,
      ignored: (path, stats) =>
        (stats !== undefined && !stats.isDirectory()) || this.#ignores(relative(shown, path)),
    });
    this.#watcher.on('ready', () => options.onReady());
    // Of files the kernel's own events tell; that a directory is watched from now on is told here alone.
    this.#watcher.on('all', (kind, path) => options.onHint(kind === 'addDir' ? this.#at(path) : {}));
    this.#watcher.on('raw', (kind, name, details) => this.#raw(kind, name, details));
    this.#watcher.on('error', (error) => options.onError(error));
    // Its own environment variable overrules what chokidar is told; it would not see a file change in place.
    if (this.#watcher.options.usePolling) options.onError(new Error('CHOKIDAR_USEPOLLING is set'));
  }

  /** No call follows. */
  close(): Promise<void> {
    if (this.#closed !== undefined) return this.#closed;
    this.#closed = this.#watcher.close();
    // close() takes all listeners away, and a late error without a listener would end the process.
    this.#watcher.on('error', () => undefined);
    return this.#closed;
  }

  #raw(kind: string, name: unknown, details: unknown): void {
    const { root, onHint, onRootGone } = this.#options;
    const directory =
      typeof details === 'object' && details !== null && 'watchedPath' in details
        ? details.watchedPath
        : undefined;
    if (typeof directory === 'string' && typeof name === 'string') {
      // With the directory's own name the kernel says that the directory itself went away.
      if (kind === 'rename' && name === basename(directory)) {
        if (directory === root) onRootGone();
        onHint({ vanished: directory });
      } else {
        const path = relative(root, join(directory, name));
        if (this.#ignores(path)) {
          this.#count('noise');
          return;
        }
        onHint(this.#at(path));
      }
    } else onHint({});
    this.#count('change');
  }

  /** @param path below the root, as the system writes it */
  #at(path: string): Hint {
    // A name that is not UTF-8 cannot be looked for by what is left of it.
    const isPlace = path !== '' && path !== '.' && path.split(sep)[0] !== '..' && !path.includes('\ufffd');
    return isPlace ? { place: sep === '/' ? path : path.replaceAll(sep, '/') } : {};
  }

  #count(what: 'change' | 'noise'): void {
    const nowMs = performance.now();
    if (nowMs - this.#windowMs >= STORM_WINDOW_MS) {
      this.#windowMs = nowMs;
      this.#events = 0;
      this.#changes = 0;
    }
    this.#events += 1;
    if (what === 'change') this.#changes += 1;
    if (this.#events !== STORM_EVENTS || this.#closed !== undefined) return;
    this.#options.onStorm(this.#changes === 0 ? 'noise' : 'changes');
  }

  #ignores(path: string): boolean {
    // Above the root chokidar looks only when the root has gone.
    if (path === '' || path.split(sep)[0] === '..') return false;
    return this.#options.ignores(sep === '/' ? path : path.replaceAll(sep, '/'));
  }
}
