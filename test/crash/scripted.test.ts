/*
 * Crash-exactness against the scripted server: every operation, killed (SIGKILL) at every point; see sweep.ts. With
 * FERRYD_SWEEP=each every single point is killed at; else one of those between which nothing happens that anybody but
 * the killed process could see.
 */
import { sweepAll } from './suite.js';

sweepAll('scripted');
