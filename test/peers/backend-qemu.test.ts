/** Our back end, and a guest of QEMU's: iPXE, which asks for an address as soon as it is up. */
import { expect, test } from 'vitest';
import { VhostUserBackend } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { until } from '../support/host.js';
import { IPXE_MAC, startQemuIpxe } from '../support/qemu-ipxe.js';
import { kept, socketPath } from '../support/sockets.js';

holdNothingLeaks();

const DHCP = { source: 68, destination: 67 };

test('a guest of QEMU asks for an address, and its device stops when QEMU is killed', async () => {
  const path = socketPath();
  const backend = kept(VhostUserBackend.listen({ path }));
  const requests: Buffer[] = [];
  const told: string[] = [];
  const errors: unknown[] = [];
  backend.on('connect', (device) =>
    device.onFrames((frames) => {
      for (const { bytes } of frames) {
        const frame = Buffer.from(bytes);
        if (frame.readUInt16BE(12) === 0x0800 && frame.readUInt16BE(36) === DHCP.destination) {
          requests.push(frame);
        }
      }
    }),
  );
  for (const event of ['start', 'stop'] as const) backend.on(event, () => told.push(event));
  backend.on('ringError', (_, ring, error) => errors.push([ring, error]));
  backend.on('disconnect', (_, error) => error && errors.push(error));
  const qemu = startQemuIpxe(path);
  await until(() => requests.length >= 2, 'two requests', 120_000);
  expect(requests[0]?.readUInt16BE(34)).toBe(DHCP.source);
  expect(requests[0]?.subarray(6, 12).toString('hex')).toBe(IPXE_MAC.replaceAll(':', ''));
  await qemu.kill();
  await until(() => told.at(-1) === 'stop' && backend.devices.size === 0, 'the device to stop');
  expect(errors).toEqual([]);
});
