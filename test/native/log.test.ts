import { expect, test } from 'vitest';
import { runModule } from '../support/node-child.js';

const WORK = `
  import { EventFd, GuestMemory } from './lib/index.js';
  const event = EventFd.create(3);
  const copy = EventFd.fromFd(event.fd);
  const memory = GuestMemory.create([{ guestAddress: 0n, size: 65536 }]);
  try {
    GuestMemory.create([{ guestAddress: 0n, size: 4096, backing: { path: '/does/not/exist' } }]);
  } catch {}
  console.log(JSON.stringify({ event: event.fd, copy: copy.fd }));
  copy.close();
  event.close();
  memory.close();
`;

/** The lines of a namespace, without time and colour. */
function linesOf(stderr: string, namespace: string): string[] {
  return stderr
    .split('\n')
    .filter((line) => line.includes(`vhost-net:${namespace} `))
    .map((line) => line.slice(line.indexOf(`net:${namespace} `) + namespace.length + 5));
}

test('without DEBUG nothing is printed', async () => {
  const { code, stderr } = await runModule(WORK);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

test('DEBUG=vhost-net:ioctl prints a line for each call: its name, arguments and result', async () => {
  const { stdout, stderr } = await runModule(WORK, { env: { DEBUG: 'vhost-net:ioctl' } });
  const { event, copy } = JSON.parse(stdout);
  expect(linesOf(stderr, 'ioctl')).toEqual([
    `eventfd [ 3 ] = fd ${event}`,
    `fcntl(F_DUPFD_CLOEXEC) [ ${event} ] = fd ${copy}`,
    `fcntl(F_SETFL) [ ${copy} ] = 0`,
    expect.stringMatching(/^memfd_create \[ 'guest-memory', 0 \] = fd \d+$/),
    expect.stringMatching(/^ftruncate \[ \d+, 65536 \] = 0$/),
    expect.stringMatching(/^fcntl\(F_ADD_SEALS\) \[ \d+, 7 \] = 0$/),
    expect.stringMatching(/^mmap \[ \d+, 0, 65536 \] = 0x[0-9a-f]+$/),
    `open '/does/not/exist' [] = -2`,
    'close [] = 0',
    'close [] = 0',
  ]);
});

test('the log never shows what is in guest memory', async () => {
  const { stderr } = await runModule(WORK, { env: { DEBUG: 'vhost-net:*' } });
  expect(stderr).toContain('mmap');
  expect(stderr).not.toMatch(/Uint8|ArrayBuffer|00 00 00/);
});

test('DEBUG=vhost-net:host prints what is opened and closed', async () => {
  const { stdout, stderr } = await runModule(WORK, { env: { DEBUG: 'vhost-net:host' } });
  const { event, copy } = JSON.parse(stdout);
  expect(linesOf(stderr, 'host')).toEqual([
    `open eventfd fd=${event}`,
    `open eventfd fd=${copy}`,
    'guest memory of 1 regions',
    `close eventfd fd=${copy}`,
    `close eventfd fd=${event}`,
  ]);
  expect(linesOf(stderr, 'ioctl')).toEqual([]);
});
