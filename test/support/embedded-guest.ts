/**
 * A guest without processors, for a VMM that has a bus: its driver finds the card by exits alone. What KVM would
 * do with the eventfds that it was given, this does.
 */
import {
  type GuestMemory,
  PacketSocket,
  placeVring,
  type VirtioMmioTransport,
  type VirtioNetDevice,
  type VirtioPciTransport,
  type VringAddresses,
  VringDriver,
} from '../../lib/index.js';
import type { FakeVm } from './fake-vm.js';
import { ETH_P_TEST, frameTo, GUEST_MAC } from './guest-card.js';
import { until } from './host.js';
import { MmioDriver } from './mmio-driver.js';
import { PciDriver, RINGS_AT } from './pci-driver.js';

interface Exit {
  address: bigint;
  length: number;
  written?: Uint8Array;
}

/** What dispatches the exits of a VMM. */
export interface Bus {
  add(registers: object, start: bigint, length: number): void;
  onExit(exit: Exit, goOn: (read?: Uint8Array) => void): void;
}

/** A message-signalled interrupt of a routing table. */
export interface Message {
  gsi: number;
  address: bigint;
  data: number;
}

export interface Surroundings {
  memory: GuestMemory;
  bus: Bus;
  ports: Bus;
  vm: FakeVm;
  tap: string;
}

const SLOT = 2048;
const SLOTS_AT = 0x20_0000;
const HEADER = 12;
const BUFFERS = 8;
const FEATURES = 1n << 32n;

export class RegisterGuest {
  /** `data` of each message that interrupted it, and each line. */
  readonly messages = new Set<number>();
  readonly lines = new Set<number>();
  /** Writes that KVM made signals of. */
  kicksByKvm = 0;
  readonly #around: Surroundings;
  readonly #host: PacketSocket;
  #routes: Message[] = [];
  #receive: VringDriver | undefined;
  #transmit: VringDriver | undefined;
  #notify: (queue: number) => void = () => {};
  readonly #buffers = new Map<number, number>();

  constructor(around: Surroundings) {
    this.#around = around;
    this.#host = PacketSocket.open(around.tap, { protocol: ETH_P_TEST });
  }

  setRouting(messages: Message[]): void {
    this.#routes = messages;
  }

  /** Its driver reads a slot's configuration space by the ports, and brings the card up. */
  async findOnPci(slot: number): Promise<void> {
    const { ports, bus } = this.#around;
    const select = (offset: number) => {
      const register = 0x8000_0000 + (slot << 11) + (offset & 0xfc);
      this.#write(ports, 0xcf8n, new Uint8Array(Uint32Array.of(register).buffer));
      return 0xcfcn + BigInt(offset & 3);
    };
    let bar = 0n;
    const registers = {
      readConfig: (offset: number, length: number) => this.#read(ports, select(offset), length),
      writeConfig: (offset: number, bytes: Uint8Array) => this.#write(ports, select(offset), bytes),
      readBar: (offset: number, length: number) => this.#read(bus, bar + BigInt(offset), length),
      writeBar: (offset: number, bytes: Uint8Array) =>
        this.#write(bus, bar + BigInt(offset), bytes),
    };
    const driver = new PciDriver(registers as unknown as VirtioPciTransport);
    bar = BigInt(driver.config(0x10, 4) & ~0xf) & 0xffff_ffffn;
    driver.command(6);
    // It moves the BAR, and memory space goes along.
    bar = 0xc800_0000n;
    driver.placeBar(bar);
    await driver.setStatus(0);
    this.#layRings((queue) => {
      const at = BigInt(RINGS_AT + 0x1000 * queue);
      return { size: 16, addresses: { desc: at, avail: at + 0x400n, used: at + 0x800n } };
    });
    driver.msixControl(0x8000);
    // Where nobody answers, all reads give ones.
    if (driver.negotiate(FEATURES) !== 0xb) throw new Error('no card, or features refused');
    const queues = driver.common(18, 2);
    for (let vector = 0; vector <= queues; vector++) {
      driver.setMessage(vector, 0xfee0_0000n, 0x40 + vector);
      driver.mask(vector, false);
    }
    for (let queue = 0; queue < queues; queue++) driver.setUpQueue(queue, queue + 1);
    await driver.setStatus(0xf);
    this.#notify = (queue) => {
      driver.setBar(driver.structure(2) + 4 * queue, 2, queue);
    };
  }

  /** Its driver was told where the registers are. */
  async findOnMmio(at: bigint): Promise<void> {
    const { bus } = this.#around;
    const registers = {
      read: (offset: number, length: number) => this.#read(bus, at + BigInt(offset), length),
      write: (offset: number, bytes: Uint8Array) => this.#write(bus, at + BigInt(offset), bytes),
    };
    const driver = new MmioDriver(registers as unknown as VirtioMmioTransport);
    const size = 256;
    this.#layRings((queue) => {
      return { size, addresses: placeVring(0x10_0000n + 0x4000n * BigInt(queue), size) };
    });
    await driver.bringUp(FEATURES);
    this.#notify = (queue) => {
      driver.write('QueueNotify', queue);
    };
  }

  /** A frame out of the guest. */
  async sends(number: number): Promise<void> {
    const ring = this.#transmit as VringDriver;
    const frame = frameTo('02:00:00:00:00:fe', number);
    const at = SLOTS_AT + BUFFERS * SLOT;
    this.#around.memory.write(BigInt(at), Buffer.concat([Buffer.alloc(HEADER), frame]));
    ring.addReadable(at, 0, HEADER + frame.length);
    ring.enableCalls();
    ring.publish();
    this.#notify(1);
    const slot = Buffer.alloc(SLOT);
    const arrived = () =>
      this.#host.receive(slot, SLOT, new Uint32Array(1)) === 1 && slot.readUInt32BE(14) === number;
    await until(arrived, `frame ${number} out of the guest`);
    await until(() => ring.pop() >= 0, 'the buffer comes back');
  }

  /** A frame into the guest. */
  async receives(number: number): Promise<void> {
    const ring = this.#receive as VringDriver;
    ring.enableCalls();
    const frame = frameTo(GUEST_MAC, number);
    this.#host.send(frame, frame.length, Uint32Array.of(frame.length), 1);
    await until(() => this.#took(ring).includes(number), `frame ${number} into the guest`);
  }

  /** A driver whose first pair of rings is in no memory: both are enabled, or nothing would be served. */
  async breaks(device: VirtioNetDevice): Promise<void> {
    for (const status of [1, 3]) device.setStatus(status);
    device.setDriverFeatures(1, 1);
    device.setStatus(11);
    for (const [i, queue] of device.queues.slice(0, 2).entries()) {
      queue.addresses = placeVring(1n << 40n, queue.size);
      device.enableQueue(i);
    }
    await device.setStatus(15);
  }

  /** KVM's irqfds: what was signalled interrupts. */
  takeInterrupts(): void {
    for (const { gsi, eventFd } of this.#around.vm.irqfds) {
      if (eventFd.read() === 0) continue;
      const route = this.#routes.find((message) => message.gsi === gsi);
      if (route) this.messages.add(route.data);
      else this.lines.add(gsi);
    }
  }

  close(): void {
    this.#host.close();
  }

  /** Before the card runs: a new ring clears its memory. */
  #layRings(ring: (queue: number) => { size: number; addresses: VringAddresses }): void {
    const { memory } = this.#around;
    this.#receive = new VringDriver(memory, { ...ring(0), eventIdx: false });
    this.#transmit = new VringDriver(memory, { ...ring(1), eventIdx: false });
    this.#buffers.clear();
    for (let i = 0; i < BUFFERS; i++) this.#post(this.#receive, SLOTS_AT + i * SLOT);
    this.#receive.publish();
  }

  #post(ring: VringDriver, at: number): void {
    this.#buffers.set(ring.addWritable(at, 0, SLOT), at);
  }

  /** Numbers of frames of ours that came. */
  #took(ring: VringDriver): number[] {
    const numbers: number[] = [];
    for (let head = ring.pop(); head >= 0; head = ring.pop()) {
      const at = this.#buffers.get(head) as number;
      const bytes = this.#around.memory.read(BigInt(at + HEADER), ring.usedLength - HEADER);
      const frame = Buffer.from(bytes);
      if (frame.readUInt16BE(12) === ETH_P_TEST) numbers.push(frame.readUInt32BE(14));
      this.#post(ring, at);
    }
    if (ring.publish()) this.#notify(0);
    return numbers;
  }

  #read(bus: Bus, address: bigint, length: number): Uint8Array {
    let answer: Uint8Array | undefined;
    bus.onExit({ address, length }, (read) => {
      answer = read;
    });
    if (!answer) throw new Error('a read was not answered');
    return answer;
  }

  /** An ioeventfd, or an exit, whose promise is kept while the guest is held. */
  #write(bus: Bus, address: bigint, written: Uint8Array): Promise<void> | undefined {
    const value = written.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
    const ioeventfd = this.#around.vm.ioeventfds.find(
      ({ address: at, length, datamatch = value }) =>
        at === address && (length === 0 || length === written.length) && datamatch === value,
    );
    if (ioeventfd) {
      this.kicksByKvm++;
      ioeventfd.eventFd.signal();
      return undefined;
    }
    let held = true;
    let release = () => {};
    bus.onExit({ address, length: written.length, written }, () => {
      held = false;
      release();
    });
    if (!held) return undefined;
    return new Promise((resolve) => {
      release = resolve;
    });
  }
}
