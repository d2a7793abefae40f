/** A hostile guest at a PCI card: its BAR and its configuration space, with INTx, routes or messages. */
import type { VirtioNetDevice } from '../../../lib/device/virtio-net-device.js';
import { VirtioPciTransport } from '../../../lib/device/virtio-pci-transport.js';
import { FakeMsi, FakeVm } from '../../support/pci.js';
import { bytesOf, PciDriver } from '../../support/pci-driver.js';
import { awayFromCanary } from './guest-memory.js';
import {
  type Access,
  anyBytes,
  checkLength,
  type HostileBus,
  hexOf,
  type Wait,
} from './hostile-bus.js';
import type { Random } from './random.js';

/** The fields of the common configuration: offset and width. */
const FIELDS = [
  [0, 4],
  [4, 4],
  [8, 4],
  [12, 4],
  [16, 2],
  [18, 2],
  [20, 1],
  [21, 1],
  [22, 2],
  [24, 2],
  [26, 2],
  [28, 2],
  [30, 2],
  [32, 8],
  [40, 8],
  [48, 8],
  [32, 4],
  [36, 4],
  [40, 4],
  [44, 4],
  [58, 2],
] as const;
const DEEP = [
  [20, 1],
  [22, 2],
  [24, 2],
  [28, 2],
  [58, 2],
] as const;
const STRUCTURES = [0x0, 0x2000, 0x4000, 0x6000, 0x8000, 0x4_8000];
const WIDTHS = [1, 2, 4, 8];
const CONFIG_AT = [0x04, 0x06, 0x10, 0x14, 0x3c, 0x40, 0x42, 0x44, 0x9c, 0xa0, 0xa4, 0xa8];
/** Where the BAR is written, in the driver's hands and in a guest's: one message's data for queue 0. */
const MESSAGE = 0x41;

export class PciBus implements HostileBus {
  readonly #transport: VirtioPciTransport;
  readonly #driver: PciDriver;
  readonly #vm = new FakeVm();
  readonly #msi: FakeMsi | undefined;
  #level = false;
  #messages: number[] = [];

  constructor(device: VirtioNetDevice, random: Random) {
    const msi = random.chance(500) ? new FakeMsi() : undefined;
    this.#msi = msi;
    const onIntx = (level: boolean) => {
      if (level === this.#level) throw new Error('the line was told its own level');
      this.#level = level;
    };
    const onMsi = (_: bigint, data: number) => void this.#messages.push(data);
    this.#transport = new VirtioPciTransport(device, { onIntx, ...(msi ? { msi } : { onMsi }) });
    this.#driver = new PciDriver(this.#transport);
    this.#transport.connect(this.#vm);
  }

  get status(): number {
    return this.#driver.status;
  }

  read(random: Random): string {
    const [space, offset, width] = this.#anywhere(random);
    const bytes =
      space === 'bar'
        ? this.#transport.readBar(offset, width)
        : this.#transport.readConfig(offset, width);
    this.#forget();
    return `read ${space} 0x${offset.toString(16)} -> ${hexOf(checkLength(bytes, width))}`;
  }

  write(random: Random): Access {
    const [space, offset, width] = this.#anywhere(random);
    const bytes = anyBytes(random, width);
    if (space === 'bar' && offset >= 32 && offset < 56 && width >= 4) placeRing(bytes, random);
    const what = `write ${space} 0x${offset.toString(16)} <- ${hexOf(bytes)}`;
    const wait =
      space === 'bar'
        ? this.#transport.writeBar(offset, bytes)
        : this.#transport.writeConfig(offset, bytes);
    this.#forget();
    return { what, wait };
  }

  checkAtRest(): void {}

  kick(index: number): Wait {
    return this.#transport.writeBar(0x6000 + 4 * index, bytesOf(index, 2));
  }

  setStatus(status: number): Wait {
    return this.#transport.writeBar(20, Uint8Array.of(status));
  }

  async bringUp(features: bigint): Promise<void> {
    await this.#driver.bringUp(features);
    this.#forget();
  }

  interrupted(): boolean {
    const sent = this.#msi ? this.#msi.poll() : this.#messages.splice(0);
    return sent.includes(MESSAGE);
  }

  close(): void {
    this.#transport.close();
    if (this.#vm.ioeventfds.size > 0) throw new Error('KVM keeps ioeventfds');
    if (this.#msi?.routes.some((route) => !route.closed)) throw new Error('a route stays open');
    if (this.#level) throw new Error('the line stays high');
  }

  #anywhere(random: Random): ['bar' | 'config', number, number] {
    switch (random.below(10)) {
      case 0:
        return ['config', random.pick(CONFIG_AT) + random.below(3), random.pick(WIDTHS)];
      case 1:
        return ['config', random.below(0x120), random.below(9)];
      case 2:
        return ['bar', random.pick(STRUCTURES) + random.below(0x80), random.pick(WIDTHS)];
      case 3:
        return ['bar', 0x8000 + 4 * random.below(32), 4];
      case 4:
        return ['bar', random.edge(0x8_0000), random.below(17)];
      case 5:
      case 6:
        return ['bar', ...random.pick(DEEP)];
      default:
        return ['bar', ...random.pick(FIELDS)];
    }
  }

  /** What a real VM would have taken long ago. */
  #forget(): void {
    if (this.#messages.length > 1000) this.#messages = [];
  }
}

/** So that a ring is often somewhere. */
function placeRing(bytes: Uint8Array, random: Random): void {
  const view = new DataView(bytes.buffer);
  const value = view.getUint32(0, true);
  const aligned = random.chance(900) ? value & ~15 & 0x3f_ffff : value;
  view.setUint32(0, awayFromCanary(aligned >>> 0), true);
  if (bytes.length >= 8 && random.chance(900)) view.setUint32(4, 0, true);
}
