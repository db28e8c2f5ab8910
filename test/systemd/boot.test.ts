/*
 * The units in a real systemd, with ferryd installed as systemd/README.md says, and a vsftpd on the machine's own
 * loopback. The tests build on each other, in this order: one machine is booted for all of them.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { describeWhere } from '../support/real-server.js';
import { Machine, missingForBoot } from './machine.js';

const UNITS = resolve(import.meta.dirname, '../../systemd');
const SOURCE = '/srv/outbox';
const PASSWORD = 'correct-horse-battery-staple';
const MEBIBYTE = 1_048_576;

// Each starts programs of Node several times, beside whatever else is being tested.
vi.setConfig({ testTimeout: 120_000 });

let machine: Machine;

async function readme(): Promise<string> {
  return readFile(resolve(UNITS, 'README.md'), 'utf8');
}

/** The commands of README.md behind a mark, as root types them on a machine without npm. */
async function installation(): Promise<string> {
  const block = /<!-- units -->\n```sh\n([^`]*)```/.exec(await readme())?.[1];
  if (block === undefined) throw new Error('README.md says nothing on how to install the units.');
  return block.replaceAll('sudo ', '').replaceAll('$(npm root --global)', '/usr/local/lib/node_modules');
}

async function writeJob(name: string, job: Readonly<Record<string, unknown>>): Promise<void> {
  await machine.write(`/etc/ferryd/jobs/${name}.yaml`, JSON.stringify(job));
}

/** A drop-in, as `systemctl edit` writes it. */
async function edit(unit: string, lines: readonly string[]): Promise<void> {
  await machine.write(`/etc/systemd/system/${unit}.d/test.conf`, `[Service]\n${lines.join('\n')}\n`);
  await machine.run('systemctl daemon-reload');
}

const push = (to: string): Readonly<Record<string, unknown>> => ({
  from: SOURCE,
  to: `nas:${to}`,
  triggers: [{ watch: { settle: '100ms' } }],
  retries: { attempts: 5, firstDelay: '100ms', maxDelay: '1s' },
});

/** Waits until what stands on the server is, byte for byte, what stands in the source, and nothing else. */
async function delivered(to: string, withinMs = 40_000): Promise<void> {
  await machine.until(
    `diff --recursive ${SOURCE} /home/store/${to} && echo the same`,
    (text) => text === 'the same',
    withinMs,
  );
}

const journal = (more: string): Promise<string> =>
  machine.run(`journalctl --unit=ferryd --no-pager --output=cat ${more}`);

describeWhere('a booted systemd', missingForBoot(), 'the units in a booted systemd', () => {
  beforeAll(async () => {
    machine = await Machine.boot();
    await machine.run(
      `useradd --create-home --shell /bin/bash store
       chpasswd
       mkdir --parents ${SOURCE}
       chown store ${SOURCE}`,
      { input: `store:${PASSWORD}\n` },
    );
    await machine.write('/etc/vsftpd.conf', VSFTPD.join('\n'));
    await machine.run('systemctl restart vsftpd');
  }, 120_000);

  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  }, 60_000);

  test('they are installed as the README says, systemd finds nothing wrong, and they may do little', async () => {
    await machine.run(await installation());
    const units = ['ferryd.service', 'ferryd@alice.service', 'ferryd-run@x.service', 'ferryd-run@x.timer'];
    await machine.run('useradd --create-home --shell /bin/bash alice');
    const verified = await machine.try(`systemd-analyze verify --man=no ${units.join(' ')} 2>&1`);
    expect(verified).toEqual({ code: 0, stdout: '', stderr: '' });
    for (const unit of units.filter((name) => name.endsWith('.service'))) {
      // In tenths.
      await machine.run(`systemd-analyze security --no-pager --threshold=20 ${unit}`);
    }
  });

  test('a configuration that cannot run ends with 2, and is not started again and again', async () => {
    const { code } = await machine.try('systemctl start ferryd');
    expect(code).not.toBe(0);
    expect(await machine.show('ferryd', 'ActiveState', 'NRestarts', 'ExecMainStatus')).toEqual({
      ActiveState: 'failed',
      NRestarts: '0',
      ExecMainStatus: '2',
    });
    expect(await journal('--priority=err')).toContain('/etc/ferryd/jobs');
  });

  test('start waits until all is ready; a credential opens the server, and the files arrive', async () => {
    await machine.write('/etc/ferryd/nas.password', PASSWORD);
    await machine.run('chmod 600 /etc/ferryd/nas.password');
    await edit('ferryd.service', ['LoadCredential=nas:/etc/ferryd/nas.password', 'RestartSec=200ms']);
    await writeJob('servers', {
      nas: { url: 'ftp://127.0.0.1', user: 'store', password: { credential: 'nas' } },
    });
    await writeJob('agent', { stop: { within: '3s' } });
    await writeJob('outbox', push('in'));
    await machine.run(
      `mkdir ${SOURCE}/sub
       echo 'a text' >${SOURCE}/a.txt
       head --bytes ${MEBIBYTE} /dev/urandom >${SOURCE}/sub/random.bin
       : >'${SOURCE}/sub/no bytes'`,
    );
    await machine.run('systemctl start ferryd');
    const shown = await machine.show('ferryd', 'ActiveState', 'SubState', 'NRestarts');
    expect(shown).toMatchObject({ ActiveState: 'active', SubState: 'running', NRestarts: '0' });
    await delivered('in');
    await machine.until('systemctl status --no-pager ferryd', (text) => /Status: ".*1 job/.test(text));
    const { MainPID } = await machine.show('ferryd', 'MainPID');
    expect(await machine.run(`ps -o user=,args= -p ${MainPID}`)).toMatch(/^ferryd .*node .*ferryd daemon$/);
    expect(await machine.run('stat --format "%U %a" /var/lib/ferryd /etc/ferryd')).toBe(
      'ferryd 700\nroot 755',
    );
    expect(await machine.run('ls /var/lib/ferryd')).toContain('ledger.db');
    const secrets = `journalctl --no-pager; tr '\\0' '\\n' </proc/${MainPID}/cmdline; ps -eo args`;
    expect(await machine.run(secrets)).not.toContain(PASSWORD);
  });

  test('a person asks how it is by the line of the README, and a hook cannot speak for it', async () => {
    await writeJob('outbox', { ...push('in'), before: 'env >/var/lib/ferryd/hook' });
    await machine.run('systemctl reload ferryd');
    await machine.until('cat /var/lib/ferryd/hook || true', (text) => text.includes('PATH='));
    expect(await machine.run('cat /var/lib/ferryd/hook')).not.toMatch(/NOTIFY_SOCKET|WATCHDOG/);
    const line = /^alias ferryd-here='sudo -u ferryd (.*)'$/m.exec(await readme())?.[1];
    const status = await machine.run(`runuser -u ferryd -- ${line} status`);
    expect(status).toMatch(/outbox/);
    await writeJob('outbox', push('in'));
    await machine.run('systemctl reload ferryd');
  });

  test('the journal has a priority for each line', async () => {
    await machine.run(`touch '${SOURCE}/refused' && chmod 000 '${SOURCE}/refused'`);
    await machine.until('journalctl --unit=ferryd --no-pager --output=cat --priority=warning', (text) =>
      text.includes('refused'),
    );
    await machine.run(`rm -f '${SOURCE}/refused'`);
    const grave = await journal(
      '--priority=warning _SYSTEMD_INVOCATION_ID=$(systemctl show --value -p InvocationID ferryd)',
    );
    expect(grave).toContain('partial');
    expect(grave).not.toMatch(/started|uploaded|loaded/);
    expect(await journal('--priority=info')).toContain('ferryd started');
  });

  describe('reload', () => {
    test('an edited job takes effect, and the process stays', async () => {
      const before = await machine.show('ferryd', 'MainPID');
      await writeJob('outbox', push('other'));
      await machine.run('systemctl reload ferryd');
      await delivered('other');
      expect(await machine.show('ferryd', 'MainPID', 'ActiveState')).toEqual({
        ...before,
        ActiveState: 'active',
      });
    });

    test('a broken edit leaves the last good version at work, and systemctl status says so', async () => {
      await writeJob('outbox', { ...push('third'), form: 'a slip of the pen' });
      await machine.run('systemctl reload ferryd');
      await machine.until('systemctl status --no-pager ferryd', (text) => /Status: .*mistakes/.test(text));
      await machine.run(`echo later >${SOURCE}/later.txt`);
      await delivered('other');
      expect(await journal('--priority=err')).toMatch(/outbox\.yaml.*form/);
      await writeJob('outbox', push('in'));
      await machine.run('systemctl reload ferryd');
      await delivered('in');
      await machine.until(
        'systemctl show --property=StatusText ferryd',
        (text) => !text.includes('mistakes'),
      );
    });

    test('with Type=notify-reload, systemctl waits for its end', async () => {
      await edit('ferryd.service', [...DROP_IN, 'Type=notify-reload', 'ExecReload=']);
      await machine.run('systemctl restart ferryd');
      const { MainPID } = await machine.show('ferryd', 'MainPID');
      await writeJob('outbox', push('other'));
      await machine.run('timeout 20 systemctl reload ferryd');
      expect(await machine.show('ferryd', 'MainPID', 'ActiveState', 'SubState')).toEqual({
        MainPID,
        ActiveState: 'active',
        SubState: 'running',
      });
      await writeJob('outbox', push('in'));
      await edit('ferryd.service', DROP_IN);
      await machine.run('systemctl restart ferryd');
    });
  });

  test('a daemon that stands still is killed by the watchdog, and the next one delivers', async () => {
    await machine.write('/opt/stall.mjs', STALL);
    await edit('ferryd.service', [
      ...DROP_IN,
      'WatchdogSec=3s',
      'Environment=NODE_OPTIONS=--import=file:///opt/stall.mjs',
    ]);
    await machine.run('systemctl restart ferryd');
    // More than twice the watchdog's time: it is fed.
    await machine.run('sleep 7');
    const { NRestarts: before, MainPID } = await machine.show('ferryd', 'NRestarts', 'MainPID');
    expect(before).toBe('0');
    await machine.run(
      `systemctl kill --kill-whom=main --signal=SIGUSR2 ferryd; echo stalled >${SOURCE}/stalled.txt`,
    );
    await machine.until('systemctl show --value --property=NRestarts ferryd', (text) => text === '1');
    await delivered('in');
    expect(await machine.show('ferryd', 'ActiveState')).toEqual({ ActiveState: 'active' });
    expect((await machine.show('ferryd', 'MainPID')).MainPID).not.toBe(MainPID);
    expect(await machine.run('journalctl --no-pager _PID=1 --unit=ferryd')).toContain('Watchdog timeout');
    await edit('ferryd.service', DROP_IN);
  });

  test('killed in the middle of a file, it is started again and finishes it', async () => {
    await machine.run('systemctl restart ferryd');
    await slowServer('2000000');
    await machine.run(`head --bytes ${6 * MEBIBYTE} /dev/urandom >${SOURCE}/large.bin`);
    await partIsThere();
    await machine.run('systemctl kill --kill-whom=main --signal=SIGKILL ferryd');
    await machine.until('systemctl show --value --property=NRestarts ferryd', (text) => text === '1');
    await slowServer('0');
    await delivered('in');
    expect(await machine.show('ferryd', 'ActiveState')).toEqual({ ActiveState: 'active' });
  });

  test('a second daemon on the same ledger ends with 7, and is not started again and again', async () => {
    await machine.run('cp /etc/systemd/system/ferryd.service /etc/systemd/system/second.service');
    await edit('second.service', DROP_IN);
    const { code } = await machine.try('systemctl start second');
    expect(code).not.toBe(0);
    expect(await machine.show('second', 'ActiveState', 'ExecMainStatus', 'NRestarts')).toEqual({
      ActiveState: 'failed',
      ExecMainStatus: '7',
      NRestarts: '0',
    });
    expect(await machine.show('ferryd', 'ActiveState')).toEqual({ ActiveState: 'active' });
  });

  test('stopped in the middle of a file, it ends in time and well, and the next start finishes it', async () => {
    // Less than agent.yaml allows: it asks for more.
    await edit('ferryd.service', [...DROP_IN, 'TimeoutStopSec=2s']);
    await slowServer('500000');
    await machine.run(`head --bytes ${6 * MEBIBYTE} /dev/urandom >${SOURCE}/large.bin`);
    await partIsThere();
    const begun = performance.now();
    await machine.run('systemctl stop ferryd');
    // Three seconds for what is in flight, three for the cut.
    expect(performance.now() - begun).toBeGreaterThan(2_500);
    expect(performance.now() - begun).toBeLessThan(10_000);
    expect(await machine.show('ferryd', 'ActiveState', 'Result', 'ExecMainStatus')).toEqual({
      ActiveState: 'inactive',
      Result: 'success',
      ExecMainStatus: '0',
    });
    expect(await machine.run('pgrep --count --uid ferryd || true')).toBe('0');
    await slowServer('0');
    await machine.run('systemctl start ferryd');
    await delivered('in');
    await machine.run('systemctl stop ferryd');
  });

  test('a fetched file lands only where the unit lets it, and an encrypted credential opens the server', async () => {
    await machine.run(
      `rm /etc/ferryd/jobs/outbox.yaml
       install -d -o ferryd -g ferryd /srv/incoming
       printf %s '${PASSWORD}' | systemd-creds encrypt --name=nas - /etc/ferryd/nas.cred`,
    );
    const encrypted = ['LoadCredentialEncrypted=nas:/etc/ferryd/nas.cred', 'RestartSec=200ms'];
    await edit('ferryd.service', encrypted);
    await writeJob('inbox', { from: 'nas:in', to: '/srv/incoming', triggers: [{ cron: '*/1 * * * * *' }] });
    await machine.run('systemctl start ferryd');
    // A sentence, not a number.
    await machine.until('journalctl --unit=ferryd --no-pager --output=cat --priority=warning', (text) =>
      /inbox.*read-only/.test(text),
    );
    expect(await machine.run('ls --almost-all /srv/incoming')).toBe('');
    await edit('ferryd.service', [...encrypted, 'ReadWritePaths=/srv/incoming']);
    await machine.run('systemctl restart ferryd');
    await machine.until(
      'diff --recursive /srv/incoming /home/store/in && echo the same',
      (text) => text === 'the same',
    );
    expect(await machine.run('stat --format "%U:%G %a" /srv/incoming/a.txt')).toBe('ferryd:ferryd 640');
    await machine.run('systemctl stop ferryd; rm /etc/ferryd/jobs/inbox.yaml');
    await writeJob('outbox', push('in'));
  });

  describe('the timer variant', () => {
    test('a run by hand has the credential, and ends well', async () => {
      await edit('ferryd-run@.service', ['LoadCredential=nas:/etc/ferryd/nas.password']);
      await machine.run(`echo once >${SOURCE}/once.txt`);
      await machine.run('systemctl start ferryd-run@outbox');
      await delivered('in', 0);
    });

    test('what was skipped leaves the unit failed, and nothing starts it again', async () => {
      await machine.run(`touch ${SOURCE}/refused && chmod 000 ${SOURCE}/refused`);
      const { code } = await machine.try('systemctl start ferryd-run@outbox');
      expect(code).not.toBe(0);
      expect(await machine.show('ferryd-run@outbox', 'ActiveState', 'ExecMainStatus', 'NRestarts')).toEqual({
        ActiveState: 'failed',
        ExecMainStatus: '3',
        NRestarts: '0',
      });
      await machine.run(`rm -f ${SOURCE}/refused`);
    });

    test('a job that cannot be loaded, 2', async () => {
      await machine.try('systemctl start ferryd-run@nothing');
      expect(await machine.show('ferryd-run@nothing', 'ActiveState', 'ExecMainStatus')).toEqual({
        ActiveState: 'failed',
        ExecMainStatus: '2',
      });
    });

    test('the timer starts it', async () => {
      await machine.write(
        '/etc/systemd/system/ferryd-run@outbox.timer.d/test.conf',
        '[Timer]\nOnCalendar=\nOnCalendar=*:*:0/1\nRandomizedDelaySec=0\nAccuracySec=100ms\n',
      );
      await machine.run(`systemctl daemon-reload; echo by the clock >${SOURCE}/clock.txt`);
      await machine.run('systemctl start ferryd-run@outbox.timer');
      await delivered('in');
      await machine.run('systemctl stop ferryd-run@outbox.timer');
      await machine.until('systemctl is-active ferryd-run@outbox || true', (text) => text === 'inactive');
    });
  });

  describe("one user's jobs", () => {
    const JOBS = '/home/alice/.config/ferryd/jobs';
    const SECRET = '/home/alice/.config/ferryd/nas.password';

    test('ferryd@alice runs them as alice, with the ledger of her own commands', async () => {
      await machine.write(`${JOBS}/servers.yaml`, JSON.stringify({ nas: NAS_BY_FILE }));
      await machine.write(
        `${JOBS}/letters.yaml`,
        JSON.stringify({ ...push('letters'), from: '/home/alice/out' }),
      );
      await machine.write(SECRET, PASSWORD);
      await machine.run(
        `chmod 600 ${SECRET}; mkdir /home/alice/out; echo dear >/home/alice/out/letter; chown -R alice /home/alice`,
      );
      await machine.run('systemctl start ferryd@alice');
      await machine.until('cat /home/store/letters/letter || true', (text) => text === 'dear');
      await machine.run('systemctl stop ferryd@alice');
      const history = await machine.run(
        `runuser -u alice -- env HOME=/home/alice ferryd --jobs ${JOBS} history`,
      );
      expect(history).toContain('letters');
    });

    test('her own manager runs them too, without a login', async () => {
      await machine.run(
        `install -D -m 644 -o alice /usr/local/lib/node_modules/ferryd/systemd/user/ferryd.service \\
           /home/alice/.config/systemd/user/ferryd.service
         echo sir >/home/alice/out/second; chown -R alice /home/alice
         loginctl enable-linger alice`,
      );
      await machine.until(
        'systemctl is-active user@$(id -u alice).service || true',
        (text) => text === 'active',
      );
      const verified = await machine.try(
        `runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/$(id -u alice) HOME=/home/alice \\
           systemd-analyze --user verify --man=no /home/alice/.config/systemd/user/ferryd.service 2>&1`,
      );
      expect(verified).toEqual({ code: 0, stdout: '', stderr: '' });
      await machine.run('systemctl --user --machine=alice@ start ferryd');
      await machine.until('cat /home/store/letters/second || true', (text) => text === 'sir');
      await machine.run('systemctl --user --machine=alice@ stop ferryd');
      expect(
        await machine.run('systemctl --user --machine=alice@ show --value --property=Result ferryd'),
      ).toBe('success');
    });
  });
});

const NAS_BY_FILE = {
  url: 'ftp://127.0.0.1',
  user: 'store',
  password: { file: '/home/alice/.config/ferryd/nas.password' },
};

const DROP_IN = ['LoadCredential=nas:/etc/ferryd/nas.password', 'RestartSec=200ms'];

const VSFTPD = [
  'listen=YES',
  'listen_ipv6=NO',
  'listen_address=127.0.0.1',
  'anonymous_enable=NO',
  'local_enable=YES',
  'write_enable=YES',
  'local_umask=022',
  'use_localtime=NO',
  'pam_service_name=vsftpd',
  'secure_chroot_dir=/var/run/vsftpd/empty',
  '',
];

/** A scheduler that stands still: its thread sleeps for ever. */
const STALL = `process.on('SIGUSR2', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
`;

/** Bytes a second; 0: as fast as it goes. The sessions under way are cut. */
async function slowServer(rate: string): Promise<void> {
  await machine.write('/etc/vsftpd.conf', [...VSFTPD, `local_max_rate=${rate}`, ''].join('\n'));
  await machine.run('systemctl restart vsftpd');
}

/** Waits until some of the large file has come. */
async function partIsThere(): Promise<void> {
  await machine.until('find /home/store -name "*.part" -size +0', (text) => text !== '');
}
