import { describe, expect, test } from 'vitest';
import type { VhostNet } from '../../lib/index.js';
import { native } from '../../lib/native.js';
import { guestMemory, newDevice, ownedDevice, readyDevice } from '../support/device.js';
import { errnoOf, expectSystemError } from '../support/errors.js';

/** A request of vhost's kind that no kernel has: _IOW(0xaf, 0xee, struct vhost_vring_state). */
const UNHEARD_OF = 0x4008afee;

/** Requests that only vhost-scsi has; of a ring, or with a first word that could be one. */
const WORKER_CALLS: Record<string, (vhost: VhostNet, word: number) => unknown> = {
  VHOST_FREE_WORKER: (vhost, word) => vhost.freeWorker(word),
  VHOST_ATTACH_VRING_WORKER: (vhost, word) => vhost.attachVringWorker(word, 0),
  VHOST_GET_VRING_WORKER: (vhost, word) => vhost.getVringWorker(word),
};

describe('a request that the kernel does not have', () => {
  test('comes back EPERM without an owner', () => {
    expect(native.ioctl(newDevice().handle, UNHEARD_OF, new Uint32Array(2))).toBe(
      -errnoOf('EPERM'),
    );
  });

  test('comes back ENOTTY with one, where its first word could be a ring', async () => {
    const { handle } = await ownedDevice();
    expect(native.ioctl(handle, UNHEARD_OF, Uint32Array.of(0, 0))).toBe(-errnoOf('ENOTTY'));
    expect(native.ioctl(handle, UNHEARD_OF, Uint32Array.of(1, 0))).toBe(-errnoOf('ENOTTY'));
  });

  test('comes back ENOBUFS where it could not, and EFAULT where there is none', async () => {
    const { handle } = await ownedDevice();
    expect(native.ioctl(handle, UNHEARD_OF, Uint32Array.of(2, 0))).toBe(-errnoOf('ENOBUFS'));
    expect(native.ioctl(handle, UNHEARD_OF, 0)).toBe(-errnoOf('EFAULT'));
  });
});

describe('the workers, which vhost-net leaves to the kernel', () => {
  test('VHOST_NEW_WORKER fails with ENOTTY', async () => {
    const vhost = await ownedDevice();
    await expectSystemError(() => vhost.newWorker(), 'ENOTTY', 'ioctl(VHOST_NEW_WORKER)');
  });

  test('VHOST_NEW_WORKER fails with ENOBUFS where its argument is not zeroed', async () => {
    const { handle } = await ownedDevice();
    const { VHOST_NEW_WORKER = 0 } = native.requests();
    expect(native.ioctl(handle, VHOST_NEW_WORKER, Uint32Array.of(5))).toBe(-errnoOf('ENOBUFS'));
  });

  test.each(Object.entries(WORKER_CALLS))(
    '%s fails with ENOTTY, or with ENOBUFS where its first word is no ring',
    async (name, call) => {
      const vhost = await ownedDevice();
      await expectSystemError(() => call(vhost, 0), 'ENOTTY', `ioctl(${name})`);
      await expectSystemError(() => call(vhost, 1), 'ENOTTY', `ioctl(${name})`);
      await expectSystemError(() => call(vhost, 5), 'ENOBUFS', `ioctl(${name})`);
    },
  );
});

describe('the byte order of a legacy ring, for which these kernels were not built', () => {
  test('cannot be set: ENOTTY, for a ring with a backend or without', async () => {
    const vhost = await readyDevice(guestMemory());
    for (const order of ['little', 'big'] as const) {
      await expectSystemError(
        () => vhost.setVringEndian(0, order),
        'ENOTTY',
        'ioctl(VHOST_SET_VRING_ENDIAN)',
      );
    }
  });

  test('cannot be read: ENOTTY', async () => {
    const vhost = await ownedDevice();
    await expectSystemError(
      () => vhost.getVringEndian(1),
      'ENOTTY',
      'ioctl(VHOST_GET_VRING_ENDIAN)',
    );
  });

  test('of a ring that is not there is ENOBUFS', async () => {
    const vhost = await ownedDevice();
    await expectSystemError(
      () => vhost.getVringEndian(2),
      'ENOBUFS',
      'ioctl(VHOST_GET_VRING_ENDIAN)',
    );
  });
});
