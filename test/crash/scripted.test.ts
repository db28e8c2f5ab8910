/*
 * Crash-exactness against the scripted server: every operation, killed (SIGKILL) before and after all that it does; see
 * sweep.ts. With FERRYD_SWEEP=each every single point is killed at; else one of those between which nothing changes that
 * outlives the process (points.ts).
 */
import { sweepAll } from './suite.js';

sweepAll('scripted');
