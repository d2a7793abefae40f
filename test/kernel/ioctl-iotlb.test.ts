import { readSync, writeSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  bit,
  type IotlbMessage,
  VHOST_ACCESS_RO,
  VHOST_ACCESS_RW,
  VHOST_ACCESS_WO,
  VHOST_IOTLB_INVALIDATE,
  VHOST_IOTLB_MISS,
  VHOST_IOTLB_MSG,
  VHOST_IOTLB_MSG_V2,
  VHOST_IOTLB_UPDATE,
  type VhostNet,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
} from '../../lib/index.js';
import { native } from '../../lib/native.js';
import { guestMemory, keep, newDevice, newTap, readyDevice } from '../support/device.js';
import { errnoOf, expectCode, expectSystemError, thrownBy } from '../support/errors.js';

const WRITE = 'write(vhost)';
/** Bytes of a message of either version. */
const MESSAGE = 72;

/** A device with an IOTLB. It needs no owner. */
function platformDevice(): VhostNet {
  const vhost = newDevice();
  vhost.setFeatures(bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_ACCESS_PLATFORM));
  return vhost;
}

/** An update of one page of `memory` at the same address in the device's space. */
function update(version: number): IotlbMessage {
  const { userAddress } = guestMemory().regions[0]!;
  const type = VHOST_IOTLB_UPDATE;
  const permission = VHOST_ACCESS_RW;
  return { version, type, iova: 0x10000n, size: 4096n, userAddress, permission };
}

describe('reading IOTLB messages', () => {
  test('gives nothing while none waits, with an IOTLB and without', () => {
    expect(platformDevice().readIotlb()).toBeUndefined();
    expect(newDevice().readIotlb()).toBeUndefined();
    expect(native.iotlbRead(platformDevice().handle)).toBe(-errnoOf('EAGAIN'));
  });

  test('fails with EBADFD on a descriptor that waits, of a device without an IOTLB', () => {
    const waiting = native.open('/dev/vhost-net', 2);
    if (typeof waiting === 'number') throw new Error('/dev/vhost-net does not open');
    expect(native.iotlbRead(keep(waiting))).toBe(-errnoOf('EBADFD'));
  });

  test('into less than a message returns 0', () => {
    expect(readSync(platformDevice().fd, Buffer.alloc(MESSAGE - 1))).toBe(0);
  });

  test.each([VHOST_IOTLB_MSG, VHOST_IOTLB_MSG_V2])(
    'tells of the miss that keeps a ring from starting, in version %d',
    async (version) => {
      const tap = newTap();
      const memory = guestMemory();
      const vhost = await readyDevice(memory);
      if (version === VHOST_IOTLB_MSG_V2) vhost.setBackendFeatures(2n);
      vhost.setFeatures(bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_ACCESS_PLATFORM));
      // With an IOTLB a ring's addresses are the device's, and none is known yet.
      vhost.setVringAddr(0, { desc: 0x20000n, avail: 0x21000n, used: 0x22000n });
      const start = () => vhost.setBackend(0, tap);
      await expectSystemError(start, 'EFAULT', 'ioctl(VHOST_NET_SET_BACKEND)');
      expect(vhost.readIotlb()).toEqual({
        version,
        asid: 0,
        type: VHOST_IOTLB_MISS,
        iova: 0x22000n,
        size: 0n,
        userAddress: 0n,
        // The kernel is about to write there, and asks for a place to read all the same.
        permission: VHOST_ACCESS_RO,
      });
    },
  );

  test('ends with the miss where an update answers it: the ring starts', async () => {
    const tap = newTap();
    const memory = guestMemory();
    const vhost = await readyDevice(memory);
    vhost.setFeatures(bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_ACCESS_PLATFORM));
    vhost.setVringAddr(0, { desc: 0x20000n, avail: 0x21000n, used: 0x22000n });
    const { userAddress } = memory.regions[0]!;
    vhost.writeIotlb({ ...update(1), iova: 0x20000n, size: 0x4000n, userAddress });
    await vhost.setBackend(0, tap);
    expect(vhost.readIotlb()).toBeUndefined();
  });
});

describe.each([VHOST_IOTLB_MSG, VHOST_IOTLB_MSG_V2])(
  'writing IOTLB messages of version %d',
  (version) => {
    test('updates and invalidates', () => {
      const vhost = platformDevice();
      const message = update(version);
      vhost.writeIotlb(message);
      vhost.writeIotlb(message);
      vhost.writeIotlb({ ...message, type: VHOST_IOTLB_INVALIDATE });
      vhost.writeIotlb({ ...message, type: VHOST_IOTLB_INVALIDATE });
    });

    test('fails with EINVAL for an update of size 0', async () => {
      const vhost = platformDevice();
      const message = { ...update(version), size: 0n };
      await expectSystemError(() => vhost.writeIotlb(message), 'EINVAL', WRITE);
    });

    test('fails with EFAULT for a type that only the kernel sends, or nobody', async () => {
      const vhost = platformDevice();
      for (const type of [0, VHOST_IOTLB_MISS, 4, 5, 6, 255]) {
        const message = { ...update(version), type };
        await expectSystemError(() => vhost.writeIotlb(message), 'EFAULT', WRITE);
      }
    });

    test('fails with EFAULT for an address that the process cannot reach', async () => {
      const vhost = platformDevice();
      for (const permission of [VHOST_ACCESS_RO, VHOST_ACCESS_WO, VHOST_ACCESS_RW]) {
        const message = { ...update(version), userAddress: 0xffff_8000_0000_0000n, permission };
        await expectSystemError(() => vhost.writeIotlb(message), 'EFAULT', WRITE);
      }
    });

    test('fails with EFAULT for a device without an IOTLB', async () => {
      const vhost = newDevice();
      await expectSystemError(() => vhost.writeIotlb(update(version)), 'EFAULT', WRITE);
      const message = { ...update(version), type: VHOST_IOTLB_INVALIDATE };
      await expectSystemError(() => vhost.writeIotlb(message), 'EFAULT', WRITE);
    });
  },
);

describe('writing what is no IOTLB message', () => {
  test('fails with EINVAL for a version that does not exist', () => {
    const { handle } = platformDevice();
    for (const version of [0, 3]) {
      const result = native.iotlbWrite(handle, version, 0, 0n, 4096n, 0n, 3, VHOST_IOTLB_UPDATE);
      expect(result).toBe(-errnoOf('EINVAL'));
    }
  });

  test('fails with EINVAL where it is short', async () => {
    const vhost = platformDevice();
    for (const bytes of [3, 4, 8, 39]) {
      const message = Buffer.alloc(bytes);
      message[0] = VHOST_IOTLB_MSG;
      expect((await thrownBy(() => writeSync(vhost.fd, message))).code).toBe('EINVAL');
    }
  });

  test('is refused before the kernel sees it for a version or type that cannot be', async () => {
    const vhost = platformDevice();
    await expectCode(() => vhost.writeIotlb({ ...update(1), version: 3 }), 'ERR_OUT_OF_RANGE');
    await expectCode(() => vhost.writeIotlb({ ...update(1), type: 256 }), 'ERR_OUT_OF_RANGE');
  });
});
