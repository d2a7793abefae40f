import { test } from 'vitest';
import {
  bit,
  Iotlb,
  type IotlbMapping,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
} from '../../lib/index.js';
import { guestMemory, keep, newTap, readyDevice } from '../support/device.js';
import { expectCode } from '../support/errors.js';
import { until } from '../support/host.js';

const FEATURES = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_ACCESS_PLATFORM);

test('an IOTLB service serves several devices, each until it is taken away', async () => {
  const memory = guestMemory();
  const devices = [await readyDevice(memory), await readyDevice(memory)];
  const tap = newTap();
  const mapping: IotlbMapping = { iova: 0x20000n, size: 0x4000, guestAddress: 0n };
  const iotlb = new Iotlb(memory, { translate: () => mapping });
  keep(iotlb);
  for (const [i, device] of devices.entries()) {
    device.setFeatures(FEATURES);
    await iotlb.attach(device);
    await expectCode(() => iotlb.attach(device), 'ERR_BUSY');
    device.setVringAddr(0, { desc: 0x20000n, avail: 0x21000n, used: 0x22000n });
    // A backend does not wait for the miss that it leads to.
    await expectCode(() => device.setBackend(0, tap), 'EFAULT');
    await until(() => iotlb.counters.updates === i + 1, 'the update');
    await device.setBackend(0, tap);
    await device.setBackend(0, null);
  }
  await iotlb.invalidate(mapping);
  for (const device of devices) {
    await expectCode(() => device.setBackend(0, tap), 'EFAULT');
  }
  await until(() => iotlb.counters.updates === 4, 'the updates');
  for (const device of devices) iotlb.detach(device);
  await iotlb.invalidate(mapping);
  // Nobody told these: what they know they keep.
  for (const device of devices) {
    await device.setBackend(0, tap);
    await device.setBackend(0, null);
  }
});
