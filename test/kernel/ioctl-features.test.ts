import { describe, expect, test } from 'vitest';
import {
  bit,
  VHOST_F_LOG_ALL,
  type VhostNet,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../../lib/index.js';
import { native } from '../../lib/native.js';
import { guestMemory, newDevice, ownedDevice, runningDevice } from '../support/device.js';
import { errnoOf, expectCode, expectSystemError } from '../support/errors.js';
import { KERNEL_LINE } from '../support/host.js';

/** What the oldest line offers, and every newer one too. */
const LEAST = 0x33d008000n;
/** What each kernel line offers. */
const OFFERED: Record<string, bigint> = {
  '6.1': LEAST,
  '6.12': 0x1033d008000n,
  '7.3': 0x10b3d008000n,
};
/** Bits 65 and 67: segmentation of UDP tunnels. */
const SECOND_WORD = 0xan;
/** An address that no process has. */
const KERNEL_ADDRESS = 0xffff_8000_0000_0000n;

const hasArray = (vhost: VhostNet) =>
  typeof native.vhostGetFeaturesArray(vhost.handle, 2) !== 'number';

describe('VHOST_GET_FEATURES', () => {
  test('offers just what a supported line has, and on any kernel what the oldest has', () => {
    const offered = newDevice().getFeatures();
    expect(offered).toBe(OFFERED[KERNEL_LINE] ?? offered);
    expect(offered & LEAST).toBe(LEAST);
  });

  test('never offers what belongs to the TAP', () => {
    const offered = newDevice().getFeatures();
    // Checksums, segmentation, several queues, packed rings.
    for (const feature of [0, 1, 7, 8, 10, 11, 12, 14, 22, 34])
      expect(offered & bit(feature)).toBe(0n);
  });

  test('says the same after an owner is set and features are', async () => {
    const vhost = await ownedDevice();
    const before = vhost.getFeatures();
    vhost.setFeatures(bit(VIRTIO_F_VERSION_1));
    expect(vhost.getFeatures()).toBe(before);
  });

  test('fails with EFAULT where the answer has no place', () => {
    const { VHOST_GET_FEATURES = 0 } = native.requests();
    expect(native.ioctl(newDevice().handle, VHOST_GET_FEATURES, 0)).toBe(-errnoOf('EFAULT'));
  });
});

describe('VHOST_SET_FEATURES', () => {
  test('takes every offered bit by itself, with and without an owner', async () => {
    for (const vhost of [newDevice(), await ownedDevice()]) {
      const offered = vhost.getFeatures();
      for (let at = 0; at < 64; at++) {
        if (offered & bit(at)) vhost.setFeatures(bit(at));
      }
      vhost.setFeatures(0n);
    }
  });

  test('fails with EOPNOTSUPP for each bit that is not offered', async () => {
    const vhost = newDevice();
    const offered = vhost.getFeatures();
    for (let at = 0; at < 64; at++) {
      if (offered & bit(at)) continue;
      await expectSystemError(
        () => vhost.setFeatures(bit(at)),
        'EOPNOTSUPP',
        'ioctl(VHOST_SET_FEATURES)',
      );
    }
  });

  test('takes another set while rings run', async () => {
    const vhost = await runningDevice(guestMemory());
    vhost.setFeatures(bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MRG_RXBUF));
    vhost.setFeatures(bit(VIRTIO_F_VERSION_1));
  });

  test('takes LOG_ALL without a log while no ring runs', () => {
    newDevice().setFeatures(bit(VHOST_F_LOG_ALL));
  });

  test('fails with EFAULT for LOG_ALL while a ring runs and the log is not accessible', async () => {
    const vhost = await runningDevice(guestMemory());
    vhost.setLogBase(KERNEL_ADDRESS);
    await expectSystemError(
      () => vhost.setFeatures(bit(VHOST_F_LOG_ALL)),
      'EFAULT',
      'ioctl(VHOST_SET_FEATURES)',
    );
  });

  test('takes ACCESS_PLATFORM twice: the IOTLB is there already', () => {
    const vhost = newDevice();
    vhost.setFeatures(bit(VIRTIO_F_ACCESS_PLATFORM));
    vhost.setFeatures(bit(VIRTIO_F_ACCESS_PLATFORM));
  });

  test('is refused before the kernel sees it where the mask is no u64', async () => {
    const vhost = newDevice();
    await expectCode(() => vhost.setFeatures(1n << 64n), 'ERR_OUT_OF_RANGE');
    await expectCode(() => vhost.setFeatures(-1n), 'ERR_OUT_OF_RANGE');
    await expectCode(() => vhost.setFeatures(0 as unknown as bigint), 'ERR_INVALID_ARG_TYPE');
  });
});

describe('the array of features', () => {
  test('has a second word, or the kernel lacks it and says EPERM without an owner', async () => {
    const vhost = newDevice();
    if (hasArray(vhost)) {
      expect(vhost.getFeaturesArray()).toBe(vhost.getFeatures() | (SECOND_WORD << 64n));
      return;
    }
    const get = 'ioctl(VHOST_GET_FEATURES_ARRAY)';
    const set = 'ioctl(VHOST_SET_FEATURES_ARRAY)';
    await expectSystemError(() => vhost.getFeaturesArray(), 'EPERM', get);
    await expectSystemError(() => vhost.setFeaturesArray(0n), 'EPERM', set);
  });

  test('is there on every kernel from 7.3 on', () => {
    const [major = 0, minor = 0] = KERNEL_LINE.split('.').map(Number);
    if (major > 7 || (major === 7 && minor >= 3)) expect(hasArray(newDevice())).toBe(true);
    if (major === 6 && minor <= 12) expect(hasArray(newDevice())).toBe(false);
  });

  test('with an owner, a kernel without it takes the count of 2 for a ring: ENOBUFS', async () => {
    const vhost = await ownedDevice();
    if (hasArray(vhost)) {
      expect(vhost.getFeaturesArray() >> 64n).toBe(SECOND_WORD);
      return;
    }
    const get = 'ioctl(VHOST_GET_FEATURES_ARRAY)';
    const set = 'ioctl(VHOST_SET_FEATURES_ARRAY)';
    await expectSystemError(() => vhost.getFeaturesArray(), 'ENOBUFS', get);
    await expectSystemError(() => vhost.setFeaturesArray(0n), 'ENOBUFS', set);
  });

  test('takes bits of both words and fails with EOPNOTSUPP for one that is not offered', async () => {
    const vhost = newDevice();
    if (!hasArray(vhost)) return;
    vhost.setFeaturesArray(bit(VIRTIO_F_VERSION_1) | bit(65) | bit(67));
    for (const feature of [63, 64, 66, 127]) {
      await expectSystemError(
        () => vhost.setFeaturesArray(bit(feature)),
        'EOPNOTSUPP',
        'ioctl(VHOST_SET_FEATURES_ARRAY)',
      );
    }
  });

  test('is refused before the kernel sees it where it has more than 128 bits', async () => {
    const vhost = newDevice();
    await expectCode(() => vhost.setFeaturesArray(1n << 128n), 'ERR_OUT_OF_RANGE');
    await expectCode(() => vhost.setFeaturesArray(-1n), 'ERR_OUT_OF_RANGE');
  });
});

describe('backend features', () => {
  test('are IOTLB messages of version 2, and nothing else', async () => {
    const vhost = newDevice();
    expect(vhost.getBackendFeatures()).toBe(2n);
    vhost.setBackendFeatures(2n);
    vhost.setBackendFeatures(0n);
    for (const feature of [0, 2, 3, 63]) {
      await expectSystemError(
        () => vhost.setBackendFeatures(bit(feature)),
        'EOPNOTSUPP',
        'ioctl(VHOST_SET_BACKEND_FEATURES)',
      );
    }
  });

  test('fail with EFAULT where the answer has no place', () => {
    const { VHOST_GET_BACKEND_FEATURES = 0 } = native.requests();
    expect(native.ioctl(newDevice().handle, VHOST_GET_BACKEND_FEATURES, 0)).toBe(
      -errnoOf('EFAULT'),
    );
  });
});
