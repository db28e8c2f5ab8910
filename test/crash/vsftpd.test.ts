/*
 * Crash-exactness against a real vsftpd: as scripted.test.ts, with a server that has timing and a will of its own.
 */
import { describeReal } from '../support/real-server.js';
import { sweepAll } from './suite.js';

describeReal('vsftpd', 'over a real vsftpd', () => sweepAll('vsftpd'));
