/*
 * A step of the build: what `ferryd` starts is the compiled program in a few files, for Node takes a third of a
 * millisecond to find, read and link each of some two hundred, and a box with an SD card more. What is imported when it
 * is needed stays in files of its own; packages stay packages. Nothing is renamed, shortened or left out by guessing.
 */
import { copyFileSync } from 'node:fs';

const FROM = 'build/src';
const TO = 'build/ferryd/bin';

export default {
  input: `${FROM}/cli/main.js`,
  platform: 'node',
  external: (name) => !/^[./]/.test(name),
  // Its parts await nothing of the program that waits for them.
  preserveEntrySignatures: 'strict',
  plugins: [
    {
      name: 'compiled schemas',
      // They are looked for beside the module that reads them (validator.ts).
      writeBundle: () => copyFileSync(`${FROM}/job/validators.json`, `${TO}/validators.json`),
    },
  ],
  output: { dir: TO, format: 'esm', chunkFileNames: '[name].js', cleanDir: true },
};
