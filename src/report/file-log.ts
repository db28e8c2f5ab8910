/*
 * The file of a log: lines go through winston to whichever file is set at the moment (file-outlet.ts). A module of its
 * own, because only the daemon has a log file, and no other command is to load winston. What a line says is log.ts's.
 */
import winston from 'winston';
import { FileOutlet } from './file-outlet.js';
import type { LogFileOptions, LogFileSettings } from './logfile.js';

/** Never throws and never blocks. */
export interface FileLog {
  /** @param line without its end */
  write(line: string): void;
  /** @param settings undefined where there is no file from now on */
  configure(settings: LogFileSettings | undefined): void;
  /** Writes out what is still on its way. Never rejects. */
  close(): Promise<void>;
}

/** How a log that has files is given them. */
export type OpenFileLog = (options: LogFileOptions) => FileLog;

export const openFileLog: OpenFileLog = (options) => {
  const outlet = new FileOutlet(options);
  const transport = new winston.transports.Stream({ stream: outlet, eol: '\n', silent: true });
  const logger = winston.createLogger({
    // Which events are written, and how, is decided before they come here.
    format: winston.format.printf(({ message }) => String(message)),
    transports: [transport],
    exitOnError: false,
  });
  logger.on('error', () => undefined);
  return {
    write(line) {
      logger.info(line);
    },
    configure(settings) {
      outlet.configure(settings);
      transport.silent = settings === undefined;
    },
    async close() {
      await new Promise<void>((resolve) => {
        logger.once('finish', () => resolve());
        logger.end();
      });
      await new Promise<void>((resolve) => {
        outlet.end(() => resolve());
      });
    },
  };
};
