/**
 * A guest that can be moved: a driver of a card on a PCI bus that is woken by interrupts alone, and knows, as
 * KVM would, to which pages it wrote. It runs in the tests' process and in a child that has nothing of vitest.
 */
import type { GuestMemory } from '../../lib/host/guest-memory.js';
import { bit, VIRTIO_F_VERSION_1 } from '../../lib/uapi/virtio-net.js';
import { VringDriver } from '../../lib/vring/driver.js';
import type { VringDriverState } from '../../lib/vring/driver-options.js';
import { checkFrameBytes, isOurs, type LengthOf, sequenceOf, writeFrame } from './frames.js';
import { BAR_AT, type PciDriver } from './pci-driver.js';

export const PAGE = 4096;
export const MEMORY_SIZE = 2 << 20;
export const MAC = '02:00:00:00:00:01';
export const lengthOf: LengthOf = (sequence) => 60 + ((sequence * 977) % 1400);

const SIZE = 64;
const SLOT = 2048;
const HEADER = 12;
const FEATURES = bit(VIRTIO_F_VERSION_1) | bit(15) | bit(29);
/** Each ring has a page that the driver writes to, and one that the device does. */
const RINGS_AT = 0x10_000;
const BUFFERS_AT = 0x10_0000;
const [RECEIVE, TRANSMIT] = [0, 1] as const;

/** What of a guest is in neither its memory nor its card. */
export interface GuestState {
  rings: VringDriverState[];
  /** Queues whose interrupt has not been handled. */
  raised: number[];
  /** Numbers of the next frame each way. */
  received: number;
  sent: number;
}

export class MovingGuest {
  /** Pages that the driver wrote to since somebody emptied it. */
  readonly written = new Set<number>();
  /** Frames of ours that came, in order, each checked byte for byte. */
  received = 0;
  sent = 0;
  readonly #memory: GuestMemory;
  readonly #pci: PciDriver;
  readonly #rings: VringDriver[];
  readonly #raised = new Set<number>();
  #paused = true;

  constructor(memory: GuestMemory, pci: PciDriver, state?: GuestState) {
    this.#memory = memory;
    this.#pci = pci;
    this.#rings = [RECEIVE, TRANSMIT].map((index) => {
      const desc = BigInt(RINGS_AT + 2 * PAGE * index);
      const addresses = { desc, avail: desc + 0x400n, used: desc + BigInt(PAGE) };
      const from = state?.rings[index];
      return new VringDriver(memory, {
        size: SIZE,
        addresses,
        eventIdx: true,
        ...(from && { state: from }),
      });
    });
    if (!state) return;
    this.received = state.received;
    this.sent = state.sent;
    for (const index of state.raised) this.#raised.add(index);
  }

  get state(): GuestState {
    return {
      rings: this.#rings.map((ring) => ring.state),
      raised: [...this.#raised],
      received: this.received,
      sent: this.sent,
    };
  }

  /** virtio 1.3 §3.1.1: vectors 1 and 2 are the queues'. */
  async bringUp(): Promise<void> {
    const pci = this.#pci;
    await pci.setStatus(0);
    pci.placeBar(BAR_AT);
    pci.command(6);
    pci.msixControl(0x8000);
    if (pci.negotiate(FEATURES) !== 0xb) throw new Error('features refused');
    for (const [index, ring] of this.#rings.entries()) {
      pci.setMessage(index + 1, 0xfee0_0000n, index);
      pci.mask(index + 1, false);
      pci.setCommon(22, 2, index);
      pci.setCommon(26, 2, index + 1);
      pci.setCommon(24, 2, SIZE);
      pci.setCommon(32, 8, ring.addresses.desc);
      pci.setCommon(40, 8, ring.addresses.avail);
      pci.setCommon(48, 8, ring.addresses.used);
      pci.setCommon(28, 2, 1);
    }
    const [receive] = this.#rings as [VringDriver];
    for (let slot = 0; slot < SIZE; slot++) receive.addWritable(slotAt(RECEIVE, slot), 0, SLOT);
    await pci.setStatus(0xf);
    this.#publish(RECEIVE);
  }

  /** The message of queue `index` came. */
  interrupt(index: number): void {
    this.#raised.add(index);
    if (!this.#paused) this.#handle();
  }

  /** The vCPU runs. */
  resume(): void {
    this.#paused = false;
    this.#handle();
  }

  pause(): void {
    this.#paused = true;
  }

  /** Masks the vectors, as a driver may that polls; what comes meanwhile is pending. */
  maskAll(masked: boolean): void {
    for (const index of [RECEIVE, TRANSMIT]) this.#pci.mask(index + 1, masked);
  }

  /** Sends frames up to number `end`, as many as there is room for. */
  send(end: number): void {
    const ring = this.#rings[TRANSMIT] as VringDriver;
    while (this.sent < end && ring.free > 0) {
      const at = slotAt(TRANSMIT, this.sent % SIZE);
      const length = lengthOf(this.sent);
      const bytes = new Uint8Array(HEADER + length);
      writeFrame(bytes.subarray(HEADER), length, this.sent);
      this.#memory.write(BigInt(at), bytes);
      this.#wrote(at, bytes.length);
      ring.addReadable(at, 0, bytes.length);
      this.sent++;
    }
    this.#publish(TRANSMIT);
  }

  #handle(): void {
    if (this.#raised.delete(TRANSMIT)) this.#drain(TRANSMIT, () => {});
    if (!this.#raised.delete(RECEIVE)) return;
    this.#drain(RECEIVE, (ring, head, length) => {
      const { address } = ring.bufferOf(head);
      const frame = this.#memory.read(BigInt(address + HEADER), length - HEADER);
      if (isOurs(frame)) {
        if (sequenceOf(frame) !== this.received) {
          throw new Error(`frame ${sequenceOf(frame)} came, not ${this.received}`);
        }
        checkFrameBytes(frame, lengthOf(this.received), this.received);
        this.received++;
      }
      ring.addWritable(address, 0, SLOT);
    });
  }

  /** All that came back, until the device promises a call for the next. */
  #drain(index: number, each: (ring: VringDriver, head: number, length: number) => void): void {
    const ring = this.#rings[index] as VringDriver;
    do {
      for (let head = ring.pop(); head >= 0; head = ring.pop()) each(ring, head, ring.usedLength);
      this.#publish(index);
    } while (ring.enableCalls());
    this.#wrote(Number(ring.addresses.desc), PAGE);
  }

  #publish(index: number): void {
    const ring = this.#rings[index] as VringDriver;
    // Descriptors and avail ring; of the used ring the device's log knows.
    this.#wrote(Number(ring.addresses.desc), PAGE);
    if (ring.publish()) this.#pci.setBar(this.#pci.structure(2) + 4 * index, 2, index);
  }

  #wrote(at: number, length: number): void {
    for (let page = Math.floor(at / PAGE); page * PAGE < at + length; page++)
      this.written.add(page);
  }
}

function slotAt(index: number, slot: number): number {
  return BUFFERS_AT + (index * SIZE + slot) * SLOT;
}
