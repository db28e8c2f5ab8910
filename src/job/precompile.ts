/* A step of the build: leaves functions that hold data against the schemas beside validator.js. */
import { writeFileSync } from 'node:fs';
import { PRECOMPILED, precompile } from './validator.js';

writeFileSync(PRECOMPILED, JSON.stringify(precompile()));
