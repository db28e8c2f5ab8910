/*
 * A file over 4 GiB, where 32 bits end: sent to a real vsftpd by the command line. The source is sparse; what
 * arrives is not, so the test wants 4 GiB of room and some seconds.
 */
import { open, stat } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { describeReal } from '../support/real-server.js';
import { startVsftpd } from '../support/servers/vsftpd.js';
import { Stage } from './stage.js';

const SIZE_BYTES = 4 * 1024 ** 3 + 3;
const END = Buffer.from('end');

describeReal('vsftpd', 'a file over 4 GiB', () => {
  test('arrives with all its bytes, and is not sent again', { timeout: 180_000 }, async () => {
    await using stage = await Stage.open();
    await using server = await startVsftpd();
    const source = await open(stage.at('source/disk.img'), 'w');
    await source.truncate(SIZE_BYTES - END.length);
    await source.write(END, 0, END.length, SIZE_BYTES - END.length);
    await source.close();
    await stage.writeNas(
      { url: `ftp://127.0.0.1:${server.port}` },
      { user: server.user, password: { env: 'VSFTPD_PASSWORD' } },
    );
    await stage.writePush('image');

    const environment = { env: { VSFTPD_PASSWORD: server.password } };
    const first = await stage.start(['--json', 'run', 'image'], environment).ended;
    expect(JSON.parse(first.stdout)).toMatchObject({ outcome: 'ok', uploaded: 1, bytes: SIZE_BYTES });
    const arrived = `${server.root}/in/disk.img`;
    expect((await stat(arrived)).size).toBe(SIZE_BYTES);
    const copy = await open(arrived);
    const { buffer } = await copy.read(Buffer.alloc(END.length), 0, END.length, SIZE_BYTES - END.length);
    await copy.close();
    expect(buffer).toEqual(END);

    const second = await stage.start(['--json', 'run', 'image'], environment).ended;
    expect(JSON.parse(second.stdout)).toMatchObject({ outcome: 'ok', uploaded: 0, unchanged: 1, bytes: 0 });
  });
});
