/** A hostile guest at the registers of virtio-mmio: with a line, or with irqfds; what it reads as memory is the same. */

import { VirtioMmioTransport } from '../../../lib/device/virtio-mmio-transport.js';
import type { VirtioNetDevice } from '../../../lib/device/virtio-net-device.js';
import { FakeVm } from '../../support/fake-vm.js';
import { MmioDriver, REG, word } from '../../support/mmio-driver.js';
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

const REGISTERS = Object.values(REG);
const DEEP = [REG.QueueSel, REG.QueueReady, REG.QueueReset, REG.QueueNotify, REG.InterruptACK];
const RINGS = [REG.QueueDescLow, REG.QueueDriverLow, REG.QueueDeviceLow, REG.QueueSize];

export class MmioBus implements HostileBus {
  readonly #transport: VirtioMmioTransport;
  readonly #driver: MmioDriver;
  readonly #vm: FakeVm | undefined;
  /** In some: it is written anew with each write. */
  readonly #page: Uint8Array | undefined;
  #level = false;

  constructor(device: VirtioNetDevice, random: Random) {
    const vm = random.chance(300) ? new FakeVm() : undefined;
    const onInterrupt = (level: boolean) => {
      if (level === this.#level) throw new Error('the line was told its own level');
      this.#level = level;
    };
    this.#vm = vm;
    this.#page = random.chance(100) ? new Uint8Array(4096) : undefined;
    this.#transport = new VirtioMmioTransport(device, {
      address: 0xd000_0000n,
      registerPage: this.#page,
      ...(vm ? { interrupt: { vm, gsi: 5 } } : { onInterrupt }),
    });
    if (vm) this.#transport.connect(vm);
    this.#driver = new MmioDriver(this.#transport);
  }

  get status(): number {
    return this.#driver.read('Status');
  }

  read(random: Random): string {
    const offset = anyOffset(random);
    const width = anyWidth(random);
    return `read ${hex(offset)} -> ${hexOf(checkLength(this.#transport.read(offset, width), width))}`;
  }

  write(random: Random): Access {
    const offset = anyOffset(random);
    const bytes = anyBytes(random, anyWidth(random));
    if (bytes.length === 4 && RINGS.includes(offset as 0x38)) {
      // So that a ring is often somewhere.
      const view = new DataView(bytes.buffer);
      const value = view.getUint32(0, true);
      const aligned = random.chance(900) ? value & ~15 & 0x3f_ffff : value;
      if (offset !== REG.QueueSize) view.setUint32(0, awayFromCanary(aligned >>> 0), true);
    }
    const what = `write ${hex(offset)} <- ${hexOf(bytes)}`;
    return { what, wait: this.#transport.write(offset, bytes) };
  }

  checkAtRest(): void {
    const page = this.#page;
    if (!page) return;
    for (const offset of REGISTERS) {
      const shown = hexOf(page.subarray(offset, offset + 4));
      const read = hexOf(this.#transport.read(offset, 4));
      if (shown !== read) throw new Error(`${hex(offset)} reads ${read}, its page ${shown}`);
    }
  }

  kick(index: number): Wait {
    return this.#driver.write('QueueNotify', index);
  }

  setStatus(status: number): Wait {
    return this.#transport.write(REG.Status, word(status));
  }

  async bringUp(features: bigint): Promise<void> {
    await this.#driver.bringUp(features);
  }

  interrupted(): boolean {
    const status = this.#driver.read('InterruptStatus');
    return (status & 1) === 1 && (this.#vm !== undefined || this.#level);
  }

  close(): void {
    this.#transport.close();
    const { ioeventfds = [], irqfds = [] } = this.#vm ?? {};
    if (ioeventfds.length + irqfds.length > 0) throw new Error('KVM keeps eventfds');
    if (this.#level) throw new Error('the line stays high');
  }
}

function anyOffset(random: Random): number {
  switch (random.below(8)) {
    case 0:
      return REG.Status;
    case 1:
    case 2:
      return random.pick(DEEP);
    case 3:
      return random.pick(RINGS);
    case 4:
      return random.chance(500) ? random.below(0x300) : random.edge(0x100);
    default:
      return random.pick(REGISTERS);
  }
}

function anyWidth(random: Random): number {
  return random.chance(950) ? 4 : random.below(17);
}

const hex = (value: number): string => `0x${value.toString(16)}`;
