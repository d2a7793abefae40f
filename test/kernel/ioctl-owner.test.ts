// ENOMEM of VHOST_SET_OWNER and VHOST_RESET_OWNER cannot be provoked, and is not tested.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { EventFd, VhostNet } from '../../lib/index.js';
import { type Fd, native } from '../../lib/native.js';
import {
  guestMemory,
  keep,
  newDevice,
  newTap,
  ownedDevice,
  readyDevice,
  ringAddresses,
  runningDevice,
} from '../support/device.js';
import { errnoOf, expectCode, expectSystemError } from '../support/errors.js';

/** Every request of lib/vhost that needs an owner, with arguments that would do for an owner. */
const NEED_OWNER: Record<string, (vhost: VhostNet) => unknown> = {
  VHOST_RESET_OWNER: (vhost) => vhost.resetOwner(),
  VHOST_SET_MEM_TABLE: (vhost) => vhost.setMemTable(guestMemory()),
  VHOST_SET_LOG_BASE: (vhost) => vhost.setLogBase(0n),
  VHOST_SET_LOG_FD: (vhost) => vhost.setLogFd(keep(EventFd.create())),
  VHOST_SET_VRING_NUM: (vhost) => vhost.setVringNum(0, 8),
  VHOST_SET_VRING_BASE: (vhost) => vhost.setVringBase(0, 0),
  VHOST_GET_VRING_BASE: (vhost) => vhost.getVringBase(0),
  VHOST_SET_VRING_ADDR: (vhost) => vhost.setVringAddr(0, ringAddresses(guestMemory(), 0)),
  VHOST_SET_VRING_KICK: (vhost) => vhost.setVringKick(0, keep(EventFd.create())),
  VHOST_SET_VRING_CALL: (vhost) => vhost.setVringCall(0, keep(EventFd.create())),
  VHOST_SET_VRING_ERR: (vhost) => vhost.setVringErr(0, keep(EventFd.create())),
  VHOST_SET_VRING_ENDIAN: (vhost) => vhost.setVringEndian(0, 'little'),
  VHOST_GET_VRING_ENDIAN: (vhost) => vhost.getVringEndian(0),
  VHOST_SET_VRING_BUSYLOOP_TIMEOUT: (vhost) => vhost.setVringBusyloopTimeout(0, 0),
  VHOST_GET_VRING_BUSYLOOP_TIMEOUT: (vhost) => vhost.getVringBusyloopTimeout(0),
  VHOST_NEW_WORKER: (vhost) => vhost.newWorker(),
  VHOST_FREE_WORKER: (vhost) => vhost.freeWorker(0),
  VHOST_ATTACH_VRING_WORKER: (vhost) => vhost.attachVringWorker(0, 0),
  VHOST_GET_VRING_WORKER: (vhost) => vhost.getVringWorker(0),
  VHOST_NET_SET_BACKEND: (vhost) => vhost.setBackend(0, newTap()),
};

/** Runs `script` in another process that has the device as descriptor 3; returns what it prints. */
function elsewhere(vhost: VhostNet, script: string): unknown {
  const addon = fileURLToPath(new URL('../../build/Release/vhost_net.node', import.meta.url));
  const child = spawnSync(
    process.execPath,
    [
      '-e',
      `const native = require(${JSON.stringify(addon)}); const fd = new native.Fd(3); ${script}`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit', vhost.fd], encoding: 'utf8' },
  );
  return JSON.parse(child.stdout);
}

describe('before VHOST_SET_OWNER', () => {
  test.each(Object.entries(NEED_OWNER))('%s fails with EPERM', async (request, call) => {
    await expectSystemError(() => call(newDevice()), 'EPERM', `ioctl(${request})`);
  });

  test('the owner is looked at before the index and the argument', async () => {
    const vhost = newDevice();
    await expectSystemError(() => vhost.setVringNum(7, 3), 'EPERM', 'ioctl(VHOST_SET_VRING_NUM)');
    const { VHOST_SET_VRING_NUM = 0 } = native.requests();
    expect(native.ioctl(vhost.handle, VHOST_SET_VRING_NUM, 0)).toBe(-errnoOf('EPERM'));
  });

  test('features are there to be read and set', () => {
    const vhost = newDevice();
    vhost.setFeatures(1n << 32n);
    vhost.setBackendFeatures(vhost.getBackendFeatures());
    expect(vhost.getFeatures()).toBeGreaterThan(0n);
  });
});

describe('VHOST_SET_OWNER', () => {
  test('fails with EBUSY for the owner itself', async () => {
    const vhost = await ownedDevice();
    await expectSystemError(() => vhost.setOwner(), 'EBUSY', 'ioctl(VHOST_SET_OWNER)');
  });

  test('fails with EBUSY through a duplicate of the descriptor', async () => {
    const vhost = await ownedDevice();
    const duplicate = keep(VhostNet.fromFd(vhost.fd));
    await expectSystemError(() => duplicate.setOwner(), 'EBUSY', 'ioctl(VHOST_SET_OWNER)');
  });

  test('called twice at once works once', async () => {
    const vhost = newDevice();
    const both = await Promise.allSettled([vhost.setOwner(), vhost.setOwner()]);
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  test('makes the device this process’s: another gets EPERM, and EBUSY when it wants it', async () => {
    const vhost = await ownedDevice();
    const script = `native.vhostSetOwner(fd).then((result) =>
      console.log(JSON.stringify([native.vhostGetVringBase(fd, 0), result])));`;
    expect(elsewhere(vhost, script)).toEqual([-errnoOf('EPERM'), -errnoOf('EBUSY')]);
    expect(vhost.getVringBase(0)).toBe(0);
  });
});

describe('VHOST_RESET_OWNER', () => {
  test('takes the ownership away', async () => {
    const vhost = await ownedDevice();
    await vhost.resetOwner();
    await expectSystemError(() => vhost.getVringBase(0), 'EPERM', 'ioctl(VHOST_GET_VRING_BASE)');
    await expectSystemError(() => vhost.resetOwner(), 'EPERM', 'ioctl(VHOST_RESET_OWNER)');
  });

  test('lets the same process own the device again', async () => {
    const vhost = await ownedDevice();
    for (let round = 0; round < 3; round++) {
      await vhost.resetOwner();
      await vhost.setOwner();
    }
    expect(vhost.getVringBase(0)).toBe(0);
  });

  test('forgets where the rings were', async () => {
    const vhost = await ownedDevice();
    vhost.setVringBase(0, 4711);
    vhost.setVringBusyloopTimeout(1, 50);
    await vhost.resetOwner();
    await vhost.setOwner();
    expect(vhost.getVringBase(0)).toBe(0);
    expect(vhost.getVringBusyloopTimeout(1)).toBe(0);
  });

  test('stops rings that run, and they can be changed after', async () => {
    const memory = guestMemory();
    const vhost = await runningDevice(memory);
    await vhost.resetOwner();
    await vhost.setOwner();
    vhost.setVringNum(0, 16);
  });

  test('leaves an empty memory table, with which a ring can be stopped', async () => {
    const vhost = await ownedDevice();
    await vhost.resetOwner();
    await vhost.setOwner();
    await vhost.setBackend(0, null);
  });

  test('forgets ring addresses: a backend then fails with EFAULT', async () => {
    const memory = guestMemory();
    const vhost = await readyDevice(memory);
    await vhost.resetOwner();
    await vhost.setOwner();
    vhost.setMemTable(memory);
    const tap = newTap();
    await expectSystemError(
      () => vhost.setBackend(0, tap),
      'EFAULT',
      'ioctl(VHOST_NET_SET_BACKEND)',
    );
  });

  test('lets go of the memory', async () => {
    const memory = guestMemory();
    const vhost = await readyDevice(memory);
    await expectCode(() => memory.close(), 'ERR_MEMORY_IN_USE');
    await vhost.resetOwner();
    memory.close();
  });
});

describe('the mode of the worker', () => {
  /** Whether this kernel lets the owner choose. */
  const known = (fd: Fd) => native.vhostGetForkFromOwner(fd) >= 0;

  test('is read and set before there is an owner, or the kernel lacks it', async () => {
    const vhost = newDevice();
    if (!known(vhost.handle)) {
      for (const [name, call] of forkCalls(vhost)) await expectSystemError(call, 'EPERM', name);
      return;
    }
    expect(vhost.getForkFromOwner()).toBe(1);
    vhost.setForkFromOwner(0);
    expect(vhost.getForkFromOwner()).toBe(0);
    vhost.setForkFromOwner(1);
    await vhost.setOwner();
    expect(vhost.getForkFromOwner()).toBe(1);
  });

  test('is 0 or 1: 2 fails with EINVAL', async () => {
    const vhost = newDevice();
    const code = known(vhost.handle) ? 'EINVAL' : 'EPERM';
    const request = 'ioctl(VHOST_SET_FORK_FROM_OWNER)';
    await expectSystemError(() => vhost.setForkFromOwner(2), code, request);
  });

  test('cannot be changed once there is an owner', async () => {
    const vhost = await ownedDevice();
    const code = known(vhost.handle) ? 'EBUSY' : 'ENOTTY';
    const request = 'ioctl(VHOST_SET_FORK_FROM_OWNER)';
    await expectSystemError(() => vhost.setForkFromOwner(0), code, request);
  });

  test('as a kernel thread serves the rings too', async () => {
    const memory = guestMemory();
    const tap = newTap();
    const vhost = newDevice();
    if (!known(vhost.handle)) return;
    vhost.setForkFromOwner(0);
    await vhost.setOwner();
    vhost.setMemTable(memory);
    vhost.setVringNum(0, 8);
    vhost.setVringAddr(0, ringAddresses(memory, 0));
    await vhost.setBackend(0, tap);
    await vhost.setBackend(0, null);
  });

  function forkCalls(vhost: VhostNet): [string, () => unknown][] {
    return [
      ['ioctl(VHOST_GET_FORK_FROM_OWNER)', () => vhost.getForkFromOwner()],
      ['ioctl(VHOST_SET_FORK_FROM_OWNER)', () => vhost.setForkFromOwner(1)],
    ];
  }
});
