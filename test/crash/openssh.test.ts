/*
 * Crash-exactness over SFTP, against a real OpenSSH: as vsftpd.test.ts, with requests in the place of commands.
 */
import { describeReal } from '../support/real-server.js';
import { sweepAll } from './suite.js';

describeReal('openssh', 'over a real OpenSSH', () => sweepAll('openssh'));
