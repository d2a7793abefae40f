/** A guest that reads and writes anything anywhere: nothing throws, and a reset makes the card as new. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { VirtioPciTransport } from '../../lib/device/virtio-pci-transport.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { FakeMsi, FakeVm, makeCard } from '../support/pci.js';
import { PciDriver } from '../support/pci-driver.js';

holdNothingLeaks();

const RUNS = 200;
const ACCESSES = 100;

const width = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(1, 2, 4, 8) },
  { weight: 1, arbitrary: fc.nat(20) },
);
const value = fc.oneof(fc.bigInt(0n, 0xfn), fc.constantFrom(0xffffn, -1n), fc.bigInt());
/** Near what there is, and anywhere. */
const barOffset = fc.oneof(
  { weight: 6, arbitrary: fc.nat(0x40) },
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.constantFrom(0x2000, 0x4000, 0x6000, 0x8000, 0x48000), fc.nat(0x50))
      .map(([at, offset]) => at + offset),
  },
  { weight: 1, arbitrary: fc.nat(0xffff_ffff) },
);
const access = fc.record({
  space: fc.constantFrom('config', 'bar'),
  writes: fc.boolean(),
  configOffset: fc.oneof(fc.nat(0xff), fc.nat(0x1fff)),
  barOffset,
  width,
  value,
});

test(`${RUNS * ACCESSES} accesses of anything`, { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.array(access, { minLength: ACCESSES, maxLength: ACCESSES, size: 'max' }),
      async (isUp, accesses) => {
        const { backend, device, close } = makeCard();
        const msi = new FakeMsi();
        const transport = new VirtioPciTransport(device, { msi });
        try {
          transport.connect(new FakeVm());
          const driver = new PciDriver(transport);
          if (isUp) await driver.bringUp(driver.features);
          for (const one of accesses) {
            const read = one.space === 'bar' ? 'readBar' : 'readConfig';
            const write = one.space === 'bar' ? 'writeBar' : 'writeConfig';
            const offset = one.space === 'bar' ? one.barOffset : one.configOffset;
            if (one.writes) {
              const bytes = new Uint8Array(one.width);
              const view = new DataView(new ArrayBuffer(8));
              view.setBigUint64(0, BigInt.asUintN(64, one.value), true);
              bytes.set(new Uint8Array(view.buffer).subarray(0, one.width));
              const waits = transport[write](offset, bytes);
              if (waits !== undefined) expect(await waits).toBeUndefined();
            } else {
              expect(transport[read](offset, one.width)).toHaveLength(one.width);
            }
          }
          backend.asked.length = 0;
          await driver.bringUp();
          expect(driver.status).toBe(0xf);
          expect(backend.asked.at(-1)).toBe('start 0');
          msi.poll();
          device.queues[0]?.call.signal();
          expect(msi.poll()).toEqual([0x41]);
        } finally {
          transport.close();
          await close();
        }
      },
    ),
    { numRuns: RUNS },
  );
});
