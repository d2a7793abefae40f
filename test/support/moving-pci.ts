/** A card on a PCI bus that is stopped, and another that goes on with its state. */
import type { VirtioPciState } from '../../lib/device/pci-state.js';
import type { VirtioPciTransportOptions } from '../../lib/device/virtio-pci-transport.js';
import { FakeMsi, makePci } from './pci.js';

/** A card that runs: queue n has vector n + 1, the configuration vector 0, and their data are 0x40 on. */
export async function running(options: VirtioPciTransportOptions = { msi: new FakeMsi() }) {
  const pci = makePci(options);
  await pci.driver.bringUp();
  return pci;
}

/** Stops a card, and makes another of its state, as JSON carries it. */
export async function move(from: ReturnType<typeof makePci>, options: VirtioPciTransportOptions) {
  const state = JSON.parse(JSON.stringify(await from.transport.stop())) as VirtioPciState;
  const next = makePci(options);
  next.memory.write(0n, from.memory.read(0n, 1 << 20));
  await next.transport.start(state);
  return { ...next, state };
}

/** All that a driver can read without changing anything. */
export function seen({ transport, driver }: ReturnType<typeof makePci>): unknown {
  const common = driver.structure(1);
  const window = driver.capabilities.get(5)?.at ?? 0;
  return {
    config: Array.from(transport.readConfig(0, window)),
    window: Array.from(transport.readConfig(window, 16)),
    // All but the generation, and what ends with the queues.
    common: [0, 4, 8, 12].map((at) => driver.bar(common + at, 4)),
    more: [16, 18, 22, 24, 26, 28, 30, 56, 58].map((at) => driver.bar(common + at, 2)),
    status: driver.status,
    addresses: [32, 40, 48].map((at) => driver.bar(common + at, 8)),
    table: Array.from({ length: 4 * 4 }, (_, i) => driver.bar(driver.tableAt + 4 * i, 4)),
    pending: driver.bar(driver.pendingAt, 4),
  };
}
