/*
 * Password hashes as crypt(3) makes them, for servers that read them from a file. Perl calls the C library for us:
 * every Debian has it, and the password does not show in any command line.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

/** SHA-512 with the fewest rounds: a login costs a millisecond, and every libcrypt knows it. */
const program = `
  local $/; my $password = <STDIN>;
  my @letters = ('a'..'z', 'A'..'Z', 0..9);
  print crypt($password, '$6$rounds=1000$' . join('', map { $letters[rand @letters] } 1..16));
`;

/**
 * The hash of a password.
 *
 * @throws Error where Perl is missing or the C library knows no SHA-512
 */
export async function cryptHash(password: string): Promise<string> {
  const perl = spawn('perl', ['-e', program], { stdio: ['pipe', 'pipe', 'inherit'] });
  const started = once(perl, 'spawn');
  // Where Perl is missing, `started` says so; its standard input only says EPIPE.
  perl.stdin.on('error', () => undefined);
  perl.stdin.end(password);
  const hash = text(perl.stdout);
  await started;
  if (!(await hash).startsWith('$6$'))
    throw new Error(`perl's crypt made no SHA-512 hash but "${await hash}"`);
  return hash;
}
