/** IotlbChannel: one device's end of the IOTLB: reads its misses, writes what answers them. */
import { type Fd, type IotlbFields, native, type Poller } from '../native.js';
import { checked, checkedValue } from '../syscall.js';
import {
  VHOST_BACKEND_F_IOTLB_MSG_V2,
  VHOST_IOTLB_ACCESS_FAIL,
  VHOST_IOTLB_MISS,
  VHOST_IOTLB_MSG,
  VHOST_IOTLB_MSG_V2,
} from '../uapi/vhost.js';
import { bit, hasBit } from '../uapi/virtio-net.js';
import { contains, type IotlbEntry, type IotlbRange, overlaps } from './iotlb-mapping.js';
import type { IotlbMessage, VhostDevice } from './vhost-device.js';

/** Messages that are read before the event loop gets its turn. */
const MESSAGES_PER_TURN = 64;

/** Why there is no entry for an access. */
export type IotlbFaultReason =
  /** Nothing is mapped there. */
  | 'unmapped'
  /** It is mapped, but not for this access. */
  | 'forbidden'
  /** It is mapped to what is no guest memory. */
  | 'no-memory'
  /** The translation failed, or the kernel refused its result. */
  | 'failed'
  /** The device itself says that the access failed. */
  | 'reported';

/** An access that was not answered. The ring that needs it waits until the address is mapped. */
export interface IotlbFault {
  device: VhostDevice;
  iova: bigint;
  /** What the device needs: `VHOST_ACCESS_RO`, `_WO` or `_RW`. */
  access: number;
  reason: IotlbFaultReason;
  /** What the translation threw, or the kernel's error. */
  error?: unknown;
}

/** Who knows what is mapped. */
export interface IotlbSource {
  readonly counters: { misses: number; updates: number };
  /** The entry that holds an address and allows the access, or why there is none. */
  find(iova: bigint, access: number): Promise<IotlbEntry | IotlbFaultReason>;
  fault(fault: IotlbFault): void;
}

/** A miss that is being translated. */
interface Miss {
  iova: bigint;
  access: number;
  /** What was invalidated since translating began. */
  invalidated: IotlbRange[];
}

/** @internal Of {@link Iotlb}. Does not keep the process alive. */
export class IotlbChannel {
  readonly #device: VhostDevice;
  readonly #source: IotlbSource;
  readonly #version: number;
  /**
   * Readable when the device is, and no second reference to it: with one, closing the device would not
   * stop its worker.
   */
  readonly #watch: Fd;
  readonly #poller: Poller;
  /** By address and access. */
  readonly #misses = new Map<string, Miss>();
  #closed = false;

  /** Messages of `version`, or of the newest that the device has. */
  constructor(device: VhostDevice, source: IotlbSource, version?: number) {
    this.#device = device;
    this.#source = source;
    const newest = hasBit(device.getBackendFeatures(), VHOST_BACKEND_F_IOTLB_MSG_V2);
    this.#version = version ?? (newest ? VHOST_IOTLB_MSG_V2 : VHOST_IOTLB_MSG);
    const second = this.#version === VHOST_IOTLB_MSG_V2;
    device.setBackendFeatures(second ? bit(VHOST_BACKEND_F_IOTLB_MSG_V2) : 0n);
    this.#watch = checkedValue<Fd>(native.watch(device.handle), 'epoll_ctl');
    this.#poller = new native.Poller(this.#watch, false, () => this.#drain());
    this.#poller.unref();
    if (this.#poller.error < 0) this.close();
    checked(this.#poller.error, 'uv_poll_start');
  }

  /** Written in order, on the thread pool. */
  async write(messages: readonly Omit<IotlbMessage, 'version'>[]): Promise<void> {
    if (this.#closed || messages.length === 0) return;
    await this.#device.writeIotlbAll(this.#version, messages);
  }

  /** What is being translated must not be answered with what was mapped before. */
  invalidated(ranges: readonly IotlbRange[]): void {
    for (const miss of this.#misses.values()) miss.invalidated.push(...ranges);
  }

  close(): void {
    this.#closed = true;
    this.#poller.close();
    this.#watch.close();
  }

  /** Reads what waits, all of it before anything is answered: an update wakes only what was read. */
  #drain(): void {
    const messages: IotlbFields[] = [];
    while (messages.length < MESSAGES_PER_TURN) {
      const message = this.#device.readIotlb();
      if (!message) break;
      messages.push(message);
    }
    for (const { type, iova, permission: access } of messages) {
      if (type === VHOST_IOTLB_MISS) this.#miss(iova, access);
      else if (type === VHOST_IOTLB_ACCESS_FAIL) this.#fault(iova, access, 'reported');
    }
  }

  #miss(iova: bigint, access: number): void {
    this.#source.counters.misses++;
    const key = `${iova} ${access}`;
    // A guest that kicks again while its ring waits makes the device ask again.
    if (this.#misses.has(key)) return;
    const miss: Miss = { iova, access, invalidated: [] };
    this.#misses.set(key, miss);
    this.#answer(miss, () => this.#misses.delete(key)).catch((error: unknown) => {
      this.#fault(iova, access, 'failed', error);
    });
  }

  /** `settled` comes before the update is written: a miss that is read after must be answered too. */
  async #answer(miss: Miss, settled: () => void): Promise<void> {
    const { iova, access } = miss;
    let entry: IotlbEntry | IotlbFaultReason;
    try {
      do {
        miss.invalidated.length = 0;
        entry = await this.#source.find(iova, access);
      } while (isStale(entry, miss));
    } finally {
      settled();
    }
    if (this.#closed) return;
    if (typeof entry === 'string') return this.#fault(iova, access, entry);
    this.#source.counters.updates++;
    await this.write([entry]);
  }

  #fault(iova: bigint, access: number, reason: IotlbFaultReason, error?: unknown): void {
    // A device that was closed meanwhile needs no answer.
    if (this.#closed || this.#device.closed) return;
    const fault = { device: this.#device, iova, access, reason };
    this.#source.fault(error === undefined ? fault : { ...fault, error });
  }
}

function isStale(entry: IotlbEntry | IotlbFaultReason, miss: Miss): boolean {
  return miss.invalidated.some((range) =>
    typeof entry === 'string' ? contains(range, miss.iova) : overlaps(range, entry),
  );
}
