import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { NetInterface } from '../../lib/index.js';
import { exists, NOBODY } from '../support/brokers.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { cli, program, type Run } from '../support/cli.js';
import { tapName, until } from '../support/host.js';
import { smallGuest } from '../support/small-guest.js';
import { socketPath } from '../support/sockets.js';

holdNothingLeaks();

const AS_NOBODY = { uid: NOBODY, gid: NOBODY };

/** `vhost-net broker`, run by root for nobody, and listening. */
async function broker(tap: string): Promise<{ run: Run; socket: string }> {
  const socket = socketPath();
  const run = cli(['broker', '--socket', socket, '--allow', `nobody:${tap}`, '--max-queues', '2']);
  expect(await run.line('listening')).toMatchObject({
    socket,
    allow: [{ uid: NOBODY, taps: tap }],
    maxQueues: 2,
  });
  return { run, socket };
}

async function stop({ run, socket }: { run: Run; socket: string }): Promise<void> {
  run.child.kill('SIGTERM');
  expect(await run.exitCode()).toBe(0);
  expect(await run.line('stopped')).toMatchObject({ reason: 'interrupted' });
  expect(run.stderr).toBe('');
  expect(existsSync(socket)).toBe(false);
}

/** The thread that serves a process's rings, wherever the kernel keeps it, and how often it ran. */
function workersOf(pid: number): number[] {
  const folders = [`/proc/${pid}/task`, '/proc'];
  return folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => /^\d+$/.test(name) && commOf(`${folder}/${name}`) === `vhost-${pid}`)
      .map((name) => Number(readFileSync(`${folder}/${name}/schedstat`, 'utf8').split(' ')[2])),
  );
}

function commOf(folder: string): string {
  try {
    return readFileSync(`${folder}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}

test('exec gives a command its descriptors by number, and exits as it does', async () => {
  const tap = tapName();
  const served = await broker(tap);
  const script = `for fd in $(echo {tapfds}:{vhostfds} | tr : ' '); do readlink /proc/self/fd/$fd; done
    ls /proc/$PPID/fd -l | grep -c -e vhost-net -e net/tun
    exit 7`;
  const command = ['--queues', '2', '--', 'sh', '-c', script];
  const run = cli(['exec', tap, '--broker', served.socket, ...command], AS_NOBODY);
  expect(await run.exitCode()).toBe(7);
  expect(run.stdout.trim().split('\n')).toEqual([
    '/dev/net/tun',
    '/dev/net/tun',
    '/dev/vhost-net',
    '/dev/vhost-net',
    '0',
  ]);
  expect(await served.run.line('granted')).toMatchObject({
    peer: { uid: NOBODY, gid: NOBODY },
    tap,
    queues: 2,
    created: true,
  });
  const other = cli(['exec', 'other', '--broker', served.socket, '--', 'true'], AS_NOBODY);
  expect(await other.exitCode()).toBe(3);
  expect(other.stderr).toBe(
    `vhost-net: exec other: uid ${NOBODY} may not have queues of the TAP 'other'\n` +
      `hint: allow it where the broker runs: --allow ${NOBODY}:other\n`,
  );
  expect(await served.run.line('refused')).toMatchObject({ peer: { uid: NOBODY }, tap: 'other' });
  await until(() => !exists(tap), 'the TAP is gone');
  await stop(served);
});

test('an unprivileged QEMU gets its network from a broker, and its guest pings through vhost', async () => {
  const tap = tapName();
  const served = await broker(tap);
  const folder = join(dirname(served.socket), 'guest');
  mkdirSync(folder);
  const guest = await smallGuest(
    folder,
    `ip addr add 10.84.0.2/24 dev eth0
     ip link set eth0 up
     ping -c 3 -W 5 10.84.0.1`,
  );
  chmodSync('/dev/kvm', 0o666);
  const network = [
    ...['-netdev', 'tap,id=n0,fds={tapfds},vhost=on,vhostfds={vhostfds}'],
    ...['-device', 'virtio-net-pci,netdev=n0,romfile='],
  ];
  const run = cli(
    ['exec', tap, '--broker', served.socket, '--', 'qemu-system-x86_64', ...guest, ...network],
    AS_NOBODY,
  );
  await served.run.line('granted');
  new NetInterface(tap).addAddress('10.84.0.1/24');
  await until(
    () => /packet loss/.test(run.stdout) || run.child.exitCode !== null,
    'the guest has pinged',
    300_000,
  );
  expect(`${run.stdout}${run.stderr}`).toContain('3 packets transmitted, 3 packets received');

  const [pid = 0] = run.children;
  expect(commOf(`/proc/${pid}`)).toBe('qemu-system-x86');
  expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(`Uid:\t${NOBODY}\t${NOBODY}`);
  const open = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  expect(open).toEqual(expect.arrayContaining(['/dev/vhost-net', '/dev/net/tun']));
  const [before = Number.NaN, ...more] = workersOf(pid);
  expect(more).toEqual([]);
  const { stdout } = await program('ping', ['-c', '5', '-i', '0.2', '-W', '5', '10.84.0.2']);
  expect(stdout).toContain('5 packets transmitted, 5 received');
  expect(workersOf(pid)[0]).toBeGreaterThanOrEqual(before + 5);

  run.child.kill('SIGTERM');
  expect(await run.exitCode()).toBe(0);
  await until(() => !exists(tap), 'the TAP is gone');
  await stop(served);
}, 400_000);
