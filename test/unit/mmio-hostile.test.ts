/**
 * A guest that reads and writes at random: nothing throws, what is read as memory is what an exit would give, and a
 * reset makes the card as new.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { VirtioMmioTransport } from '../../lib/device/virtio-mmio-transport.js';
import { FakeVm } from '../support/fake-vm.js';
import { type MmioCard, makeMmioCard, REG } from '../support/mmio-driver.js';

/** Accesses in all. */
const ACCESSES = 20_000;
const RUNS = 100;
const REGISTERS = Object.values(REG);

interface Access {
  write: boolean;
  offset: number;
  width: number;
  value: number;
  /** Whether the vCPU waits, or another goes on. */
  wait: boolean;
}

const offset = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(...REGISTERS) },
  // What has to wait for the backend begins here.
  {
    weight: 12,
    arbitrary: fc.constantFrom(REG.Status, REG.QueueSel, REG.QueueReady, REG.QueueReset),
  },
  { weight: 1, arbitrary: fc.nat(0x400) },
  { weight: 1, arbitrary: fc.maxSafeNat() },
);
const value = fc.oneof(
  { weight: 4, arbitrary: fc.nat(16) },
  { weight: 4, arbitrary: fc.constantFrom(1, 2, 3, 4) },
  { weight: 1, arbitrary: fc.constantFrom(0x40, 0x80, 256, 512, 0x8000_0000, 0xffff_ffff) },
  { weight: 1, arbitrary: fc.nat(0xffff_ffff) },
  // The handshake, so that much of it is got through.
  { weight: 8, arbitrary: fc.constantFrom(1, 3, 11, 15) },
);
const access: fc.Arbitrary<Access> = fc.record({
  write: fc.boolean(),
  offset,
  width: fc.oneof({ weight: 10, arbitrary: fc.constant(4) }, { arbitrary: fc.nat(16), weight: 1 }),
  value,
  wait: fc.boolean(),
});
const accesses = fc.array(access, {
  minLength: ACCESSES / RUNS,
  maxLength: ACCESSES / RUNS,
});

/** Some of the runs begin behind the features, where random writes seldom get. */
const start = fc.constantFrom('new', 'features', 'running');

/** The registers that a guest would read otherwise in the page than by an exit. */
function wrongIn(page: Uint8Array, transport: VirtioMmioTransport): string[] {
  const same = (offset: number) =>
    Buffer.compare(page.subarray(offset, offset + 4), transport.read(offset, 4)) === 0;
  return [...REGISTERS, REG.Config + 4, REG.Config + 12]
    .filter((offset) => !same(offset))
    .map((offset) => `0x${offset.toString(16)}`);
}

async function suffer(
  { transport }: MmioCard,
  page: Uint8Array,
  list: readonly Access[],
): Promise<number> {
  let held = 0;
  for (const { write, offset, width, value, wait } of list) {
    if (!write) {
      expect(transport.read(offset, width)).toHaveLength(width);
      continue;
    }
    const bytes = new Uint8Array(Math.max(width, 4));
    new DataView(bytes.buffer).setUint32(0, value, true);
    const done = transport.write(offset, bytes.subarray(0, width));
    if (done) held++;
    if (!wait) continue;
    await done;
    // Others that were not waited for may be between two steps until the next turn.
    await new Promise(setImmediate);
    expect(wrongIn(page, transport)).toEqual([]);
  }
  return held;
}

async function begin({ driver }: MmioCard, from: 'new' | 'features' | 'running'): Promise<void> {
  if (from === 'features') await driver.takeFeatures();
  if (from === 'running') await driver.bringUp();
}

test.each(['a line', 'irqfds'])(
  `${ACCESSES} random accesses with %s`,
  { timeout: 60_000 },
  async (kind) => {
    const vm = new FakeVm();
    const registerPage = new Uint8Array(4096);
    const card = makeMmioCard(
      { queuePairs: 2 },
      kind === 'irqfds'
        ? { interrupt: { vm, gsi: 5 }, registerPage }
        : { onInterrupt: () => {}, registerPage },
    );
    const { driver, device, backend, transport } = card;
    const fresh = await stateOf(card);
    let held = 0;
    await fc.assert(
      fc.asyncProperty(start, accesses, async (from, list) => {
        await begin(card, from);
        held += await suffer(card, registerPage, list);
        await driver.reset();
        expect(await stateOf(card)).toEqual(fresh);
        backend.asked.length = 0;
        await driver.bringUp();
        expect(driver.read('Status')).toBe(15);
        expect(backend.asked).toEqual(['start 0']);
        expect([...backend.rings.keys()]).toEqual([0, 1]);
        await driver.reset();
      }),
      { numRuns: RUNS },
    );
    // It would prove little if no access had ever got through to the backend.
    expect(held).toBeGreaterThan(RUNS / 4);
    transport.close();
    await device.close();
  },
);

/** All that a driver sees of a card before it touches it, but the generation, which only grows. */
async function stateOf({ driver, transport }: MmioCard) {
  const registers = REGISTERS.filter((register) => register !== REG.ConfigGeneration).map(
    (register) => [register, ...transport.read(register, 4)],
  );
  const queues = Array.from({ length: 6 }, (_, index) => {
    driver.write('QueueSel', index);
    return ['QueueSizeMax', 'QueueReady', 'QueueReset'].map((register) =>
      driver.read(register as 'QueueReady'),
    );
  });
  driver.write('QueueSel', 0);
  return { registers, queues, config: transport.read(REG.Config, 32) };
}
