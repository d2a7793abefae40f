/** One ring of a back end: what the front-end said of it, and the device end while it is started. */
import type { EventFd } from '../host/event-fd.js';
import { VringDevice } from '../vring/device.js';
import {
  availBytes,
  checkAlignment,
  checkRingSize,
  descBytes,
  usedBytes,
  type VringAddresses,
} from '../vring/layout.js';
import type { BackendMemory } from './backend-memory.js';
import type { VhostUserVringAddr } from './ring-payloads.js';
import { closeSignal, eventFdOf, type Signal } from './ring-signal.js';

/** What all rings of a device have in common when they start. */
export interface RingFeatures {
  eventIdx: boolean;
  indirect: boolean;
}

export class BackendRing {
  readonly index: number;
  /**
   * Whether frames go by it. The front-end says it at any time, also before anything else. A ring that it said is
   * disabled loses what it is sent; where nothing was said yet that waits: a front-end that starts rings before it
   * enables them, as most do, would lose what was in flight when the back end before this one died.
   */
  use: 'enabled' | 'disabled' | 'unsaid' = 'unsaid';
  /** The device end, while the ring is started. */
  device: VringDevice | undefined;
  /** Guest address of the used ring for the dirty log, where it is to be logged. */
  usedLog: number | undefined;
  call: Signal;
  err: Signal;
  #kick: EventFd | 'in-band' | 'polled' | undefined;
  #size = 0;
  #base = 0;
  #addresses: VhostUserVringAddr | undefined;

  constructor(index: number) {
    this.index = index;
  }

  get enabled(): boolean {
    return this.use === 'enabled';
  }

  get size(): number {
    return this.#size;
  }

  /** Whether the front-end said all that is needed to start it. */
  get ready(): boolean {
    return this.#kick !== undefined && this.#addresses !== undefined && this.#size > 0;
  }

  get kick(): EventFd | 'in-band' | 'polled' | undefined {
    return this.#kick;
  }

  /** Bytes of the used ring. */
  get usedBytes(): number {
    return usedBytes(this.#size);
  }

  /** Throws for a number that is none of a ring's, and while it is started. */
  setSize(size: number): void {
    this.#assertStopped();
    this.#size = checkRingSize('its size', size);
  }

  /** Throws for a position that no split ring has, and while it is started. */
  setBase(base: number): void {
    this.#assertStopped();
    if (base > 0xffff) throw new Error(`its position is ${base}, above 65535`);
    this.#base = base;
  }

  /**
   * Where its parts are. Of a ring that is started only whether it is logged may change. Throws for what is
   * not aligned, and for what is not in memory, where that is known.
   */
  setAddresses(addresses: VhostUserVringAddr, memory: BackendMemory | undefined): void {
    const { desc, avail, used, flags, log } = addresses;
    checkAlignment(addresses);
    if (this.device) {
      const known = this.#addresses as VhostUserVringAddr;
      if (known.desc !== desc || known.avail !== avail || known.used !== used) {
        throw new Error('its addresses cannot change while it is started');
      }
    } else if (memory && this.#size > 0) {
      this.#translate(addresses, memory);
    }
    this.#addresses = addresses;
    this.usedLog = (flags & 1) === 0 ? undefined : Number(log);
  }

  /** Takes a duplicate of an eventfd. Throws for any other descriptor. */
  setKick(fd: number | undefined, without: 'in-band' | 'polled'): void {
    const kick = fd === undefined ? without : eventFdOf(fd);
    closeSignal(this.#kick);
    this.#kick = kick;
  }

  /** As {@link BackendRing.setKick}. */
  setCall(fd: number | undefined, without: 'in-band' | undefined): void {
    const call = fd === undefined ? without : eventFdOf(fd);
    closeSignal(this.call);
    this.call = call;
  }

  /** As {@link BackendRing.setKick}. */
  setErr(fd: number | undefined, without: 'in-band' | undefined): void {
    const err = fd === undefined ? without : eventFdOf(fd);
    closeSignal(this.err);
    this.err = err;
  }

  /** Makes the device end. Throws where its parts are not in memory; then it stays stopped. */
  start(memory: BackendMemory, features: RingFeatures, base: number): VringDevice {
    this.device = this.deviceIn(memory, features, base);
    return this.device;
  }

  /** A device end in this memory, from `base` on. Throws where its parts are not in it. */
  deviceIn(memory: BackendMemory, features: RingFeatures, base = this.base): VringDevice {
    const addresses = this.#translate(this.#addresses as VhostUserVringAddr, memory);
    return new VringDevice(memory.guest, { size: this.#size, addresses, base, ...features });
  }

  /** Where its used ring stands in memory. Throws where it is not in it. */
  usedIndex(memory: BackendMemory): number {
    const { used } = this.#translate(this.#addresses as VhostUserVringAddr, memory);
    const { region, offset } = memory.guest.translate(used, this.usedBytes);
    return new Uint16Array(region.buffer, offset, 2)[1] as number;
  }

  /** Where another device goes on. */
  get base(): number {
    return this.device?.base ?? this.#base;
  }

  /** Takes the device end away and lets go of the eventfds. Returns where another goes on. */
  stop(): number {
    this.#base = this.base;
    this.device = undefined;
    closeSignal(this.#kick);
    closeSignal(this.call);
    this.#kick = this.call = undefined;
    return this.#base;
  }

  /** Lets go of everything. */
  close(): void {
    this.stop();
    closeSignal(this.err);
    this.err = undefined;
  }

  #translate({ desc, avail, used }: VhostUserVringAddr, memory: BackendMemory): VringAddresses {
    const size = this.#size;
    return {
      desc: memory.guestAddressOf(desc, descBytes(size)),
      avail: memory.guestAddressOf(avail, availBytes(size)),
      used: memory.guestAddressOf(used, usedBytes(size)),
    };
  }

  #assertStopped(): void {
    if (this.device) throw new Error('the ring is started');
  }
}
