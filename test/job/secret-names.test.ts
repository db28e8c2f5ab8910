/* Programs that ferryd starts are not handed the variables that it reads secrets from, wherever those are named. */
import { expect, test } from 'vitest';
import { withoutSecrets } from '../../src/job/secret-names.js';
import { load } from './directory.js';

const ENVIRONMENT = {
  PATH: '/usr/bin',
  NAS_PASSWORD: 'p',
  NAS_KEY: 'k',
  NAS_PASSPHRASE: 'o',
  PING: 'https://ping.example/x',
  VAULT_KEY: '-----BEGIN',
  VAULT_PASSPHRASE: 'v',
  GATE_PASSWORD: 'g',
  SSH_AUTH_SOCK: '/run/agent',
  HOOK: 'https://hook.example/x',
  HOOK_KEY: 'h',
  MAIL: 'm',
  PGPASSWORD: 'of the dump',
};

test('of a job and of the agent', async () => {
  const { jobs, agent, problems } = await load({
    'servers.yaml': [
      'nas:',
      '  url: ftpes://nas.example',
      '  user: backup',
      '  password: { env: NAS_PASSWORD }',
      '  tls: { certificate: us.pem, key: { env: NAS_KEY }, passphrase: { env: NAS_PASSPHRASE } }',
    ].join('\n'),
    'agent.yaml':
      'notify: [{ webhook: { env: HOOK }, key: { env: HOOK_KEY } }, { mail: a@b.example, from: a@b.example, server: smtps://b.example, user: u, password: { env: MAIL } }]\n',
    'nightly.yaml': 'from: /srv\nto: nas:in\nbefore: pg_dump shop\nping: { env: PING }\n',
  });
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  expect(Object.keys(withoutSecrets(ENVIRONMENT, jobs))).toEqual([
    'PATH',
    'VAULT_KEY',
    'VAULT_PASSPHRASE',
    'GATE_PASSWORD',
    'SSH_AUTH_SOCK',
    'HOOK',
    'HOOK_KEY',
    'MAIL',
    'PGPASSWORD',
  ]);
  expect(Object.keys(withoutSecrets(ENVIRONMENT, [agent, ...jobs]))).toEqual([
    'PATH',
    'VAULT_KEY',
    'VAULT_PASSPHRASE',
    'GATE_PASSWORD',
    'SSH_AUTH_SOCK',
    'PGPASSWORD',
  ]);
  expect(withoutSecrets(ENVIRONMENT, [])).toEqual(ENVIRONMENT);
});

test('of an SFTP server, and of those that it is reached through; the way to an agent is no secret', async () => {
  const { jobs, lines } = await load({
    'servers.yaml': [
      'vault:',
      '  url: sftp://backup@vault.example',
      '  privateKey: { env: VAULT_KEY }',
      '  passphrase: { env: VAULT_PASSPHRASE }',
      '  agent: true',
      '  via: gate',
      'gate: { url: "sftp://hop@gate.example", password: { env: GATE_PASSWORD } }',
    ].join('\n'),
    'nightly.yaml': 'from: /srv\nto: vault:in\nbefore: pg_dump shop\n',
  });
  expect(lines).toEqual([]);
  const left = Object.keys(withoutSecrets(ENVIRONMENT, jobs));
  expect(Object.keys(ENVIRONMENT).filter((name) => !left.includes(name))).toEqual([
    'VAULT_KEY',
    'VAULT_PASSPHRASE',
    'GATE_PASSWORD',
  ]);
});
