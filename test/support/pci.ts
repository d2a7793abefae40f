/** A card on a PCI bus for unit tests: nobody moves packets, and messages are counted. */
import type { MsiRoute, MsiRoutes } from '../../lib/device/msi-delivery.js';
import { VirtioNetDevice } from '../../lib/device/virtio-net-device.js';
import {
  VirtioPciTransport,
  type VirtioPciTransportOptions,
} from '../../lib/device/virtio-pci-transport.js';
import type { EventFd } from '../../lib/host/event-fd.js';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import type { Ioeventfd } from '../../lib/host/kvm-vm.js';
import { cleanup } from './cleanup.js';
import { FakeBackend } from './fake-backend.js';
import { PciDriver } from './pci-driver.js';

/** VERSION_1, MRG_RXBUF, EVENT_IDX, INDIRECT_DESC. */
const FEATURES = (1n << 32n) | (1n << 15n) | (1n << 29n) | (1n << 28n);

export function makeCard(queuePairs = 1) {
  const memory = GuestMemory.create([{ guestAddress: 0n, size: 1 << 20 }]);
  const backend = new FakeBackend(queuePairs, FEATURES);
  const device = new VirtioNetDevice({ memory, backend, mac: '02:00:00:00:00:01' });
  const close = async () => {
    await device.close();
    memory.close();
  };
  return { memory, backend, device, close };
}

/** A card with its transport and a driver that found its capabilities; all closed after the test. */
export function makePci(options: VirtioPciTransportOptions = {}, queuePairs = 1) {
  const card = makeCard(queuePairs);
  cleanup(card.close);
  const transport = new VirtioPciTransport(card.device, options);
  cleanup(() => transport.close());
  return { ...card, transport, driver: new PciDriver(transport) };
}

/** Routes that behave as KVM's: what an eventfd holds is sent when it is connected, and as it is signalled. */
export class FakeMsi implements MsiRoutes {
  /** `data` of each message that was sent. */
  readonly sent: number[] = [];
  readonly addresses = new Set<bigint>();
  readonly routes: FakeRoute[] = [];
  allocate(): FakeRoute {
    const route = new FakeRoute(this);
    this.routes.push(route);
    return route;
  }

  /** What KVM does at once: sends for what was signalled. Returns what was sent since the last time. */
  poll(): number[] {
    for (const route of this.routes) route.poll();
    return this.sent.splice(0);
  }
}

export class FakeRoute implements MsiRoute {
  readonly connected = new Set<EventFd>();
  updates = 0;
  closed = false;
  readonly #msi: FakeMsi;
  #data = -1;

  constructor(msi: FakeMsi) {
    this.#msi = msi;
  }

  update(address: bigint, data: number): void {
    this.updates++;
    this.#msi.addresses.add(address);
    this.#data = data;
  }

  connect(eventFd: EventFd): void {
    if (this.connected.has(eventFd)) throw new Error('connected twice');
    this.connected.add(eventFd);
    this.poll();
  }

  /** As KVM takes an irqfd back: what was signalled before was sent, what comes after it stays. */
  disconnect(eventFd: EventFd): void {
    this.poll();
    if (!this.connected.delete(eventFd)) throw new Error('not connected');
  }

  poll(): void {
    for (const eventFd of this.connected) if (eventFd.read() > 0) this.#msi.sent.push(this.#data);
  }

  close(): void {
    if (this.connected.size > 0) throw new Error('closed while connected');
    this.closed = true;
  }
}

/** A VM that writes down its ioeventfds. */
export class FakeVm {
  /** By guest-physical address. */
  readonly ioeventfds = new Map<bigint, Ioeventfd>();
  /** Calls of `assignIoeventfd` that still succeed. */
  room = Number.POSITIVE_INFINITY;

  assignIoeventfd(ioeventfd: Ioeventfd): void {
    if (this.room-- <= 0) throw new Error('ENOSPC');
    if (this.ioeventfds.has(ioeventfd.address)) throw new Error('EEXIST');
    this.ioeventfds.set(ioeventfd.address, ioeventfd);
  }

  deassignIoeventfd({ address, eventFd }: Ioeventfd): void {
    if (this.ioeventfds.get(address)?.eventFd !== eventFd) throw new Error('ENOENT');
    this.ioeventfds.delete(address);
  }
}

/** Long enough for the event loop to have called every listener. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise(setImmediate);
}
