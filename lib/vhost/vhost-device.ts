/** The part of a vhost device that every kind has: ownership, features, memory, log, IOTLB. */
import { readFileSync } from 'node:fs';
import { checkInteger, checkUint64, rangeError } from '../errors.js';
import { Descriptor } from '../host/descriptor.js';
import type { EventFd } from '../host/event-fd.js';
import { GuestMemory } from '../host/guest-memory.js';
import { type IotlbFields, native } from '../native.js';
import { checked, checkedValue, systemError } from '../syscall.js';
import { VHOST_IOTLB_MSG, VHOST_IOTLB_MSG_V2 } from '../uapi/vhost.js';
import { DirtyLog } from './dirty-log.js';

const EAGAIN = -11;
const REGION_WORDS = 4;
const MESSAGE_WORDS = 5;

export type { IotlbFields } from '../native.js';

/** A range of guest addresses and where it is in this process. */
export interface VhostMemoryRegion {
  guestAddress: bigint;
  /** Bytes, more than 0. */
  size: number | bigint;
  userAddress: bigint;
}

/** An IOTLB message (`struct vhost_msg`, `struct vhost_msg_v2`). */
export interface IotlbMessage extends Partial<Omit<IotlbFields, 'version' | 'type'>> {
  /** 1 or 2. */
  version: number;
  /** `VHOST_IOTLB_*`. */
  type: number;
}

/** How many regions {@link VhostDevice.setMemTable} takes: a parameter of the module, default 64. */
export function maxMemRegions(): number {
  try {
    return Number(readFileSync('/sys/module/vhost/parameters/max_mem_regions', 'utf8'));
  } catch {
    // The module is not loaded, or older than the parameter (4.2), whose limit was 64.
    return 64;
  }
}

/**
 * The ioctls of `linux/vhost.h` that are not about a ring, in the kernel's order and words. Every
 * method but the getters of features throws `EPERM` before {@link VhostDevice.setOwner}, and all throw
 * `ERR_CLOSED` after `close()`. Those that wait for the worker run on the thread pool, one at a time.
 */
export abstract class VhostDevice extends Descriptor {
  #memory: GuestMemory | undefined;
  #log: DirtyLog | undefined;
  #tail: Promise<unknown> = Promise.resolve();

  /** `VHOST_SET_OWNER`: starts the worker. Throws `EBUSY` if there is an owner, `ENOMEM`. */
  setOwner(): Promise<void> {
    return this.exclusive('VHOST_SET_OWNER', () => native.vhostSetOwner(this.handle));
  }

  /**
   * `VHOST_RESET_OWNER`: back to the state after open: rings stopped, features 0, eventfds and memory
   * let go. Throws `EPERM`.
   */
  async resetOwner(): Promise<void> {
    await this.exclusive('VHOST_RESET_OWNER', () => native.vhostResetOwner(this.handle));
    this.#keepNothing();
  }

  /** `VHOST_GET_FEATURES`: bits 0 to 63. */
  getFeatures(): bigint {
    return checkedValue(native.vhostGetFeatures(this.handle), 'ioctl(VHOST_GET_FEATURES)');
  }

  /**
   * `VHOST_SET_FEATURES`. Never echo {@link VhostDevice.getFeatures} into it: see `MEANING_CHANGERS`.
   * Throws `EOPNOTSUPP` for a bit that is not offered, `EFAULT`.
   */
  setFeatures(features: bigint): void {
    checkUint64('features', features);
    this.call('VHOST_SET_FEATURES', native.vhostSetFeatures(this.handle, features), features);
  }

  /** `VHOST_GET_FEATURES_ARRAY`: bits 0 to 127 as one mask. Throws `EPERM` or `ENOTTY` before 6.17. */
  getFeaturesArray(): bigint {
    const [low = 0n, high = 0n] = checkedValue<bigint[]>(
      native.vhostGetFeaturesArray(this.handle, 2),
      'ioctl(VHOST_GET_FEATURES_ARRAY)',
    );
    return low | (high << 64n);
  }

  /** `VHOST_SET_FEATURES_ARRAY`: bits 0 to 127. Throws as {@link VhostDevice.setFeatures}. */
  setFeaturesArray(features: bigint): void {
    const high = checkUint64('the upper word of features', features >> 64n);
    const words = BigUint64Array.of(features & 0xffff_ffff_ffff_ffffn, high);
    const result = native.vhostSetFeaturesArray(this.handle, words);
    this.call('VHOST_SET_FEATURES_ARRAY', result, features);
  }

  /** `VHOST_GET_BACKEND_FEATURES`. */
  getBackendFeatures(): bigint {
    const result = native.vhostGetBackendFeatures(this.handle);
    return checkedValue(result, 'ioctl(VHOST_GET_BACKEND_FEATURES)');
  }

  /** `VHOST_SET_BACKEND_FEATURES`. Throws `EOPNOTSUPP`. */
  setBackendFeatures(features: bigint): void {
    checkUint64('features', features);
    const result = native.vhostSetBackendFeatures(this.handle, features);
    this.call('VHOST_SET_BACKEND_FEATURES', result, features);
  }

  /** `VHOST_GET_FORK_FROM_OWNER`. Throws `EPERM` or `ENOTTY` where the kernel lacks it. */
  getForkFromOwner(): number {
    return this.call('VHOST_GET_FORK_FROM_OWNER', native.vhostGetForkFromOwner(this.handle));
  }

  /** `VHOST_SET_FORK_FROM_OWNER`, before the owner is set. Throws `EBUSY` after, `EINVAL`. */
  setForkFromOwner(mode: number): void {
    checkInteger('mode', mode, 0, 255);
    const result = native.vhostSetForkFromOwner(this.handle, mode);
    this.call('VHOST_SET_FORK_FROM_OWNER', result, mode);
  }

  /**
   * `VHOST_SET_MEM_TABLE`. {@link GuestMemory} that is passed whole cannot be closed until this device
   * is closed or reset. Throws `E2BIG` beyond {@link maxMemRegions}, `EFAULT`, `ERR_OUT_OF_RANGE` for a
   * region of size 0, which the kernel would take for all addresses there are.
   */
  setMemTable(memory: GuestMemory | readonly VhostMemoryRegion[]): void {
    const regions = memory instanceof GuestMemory ? memory.regions : memory;
    const table = new BigUint64Array(regions.length * REGION_WORDS);
    regions.forEach(({ guestAddress, size, userAddress }, i) => {
      checkUint64('guestAddress', guestAddress);
      checkUint64('userAddress', userAddress);
      if (checkUint64('size', BigInt(size)) === 0n) {
        throw rangeError('a region of the memory table has size 0');
      }
      table.set([guestAddress, BigInt(size), userAddress], i * REGION_WORDS);
    });
    this.call(
      'VHOST_SET_MEM_TABLE',
      native.vhostSetMemTable(this.handle, table, 0),
      regions.length,
    );
    this.#memory = this.#keep(this.#memory, memory instanceof GuestMemory ? memory : undefined);
  }

  /**
   * `VHOST_SET_LOG_BASE`: the dirty bitmap, or its address in this process. A {@link DirtyLog} cannot be
   * closed until another base is set (0 for none), or the device is closed or reset. Throws `EFAULT`.
   */
  setLogBase(log: DirtyLog | bigint): void {
    const own = log instanceof DirtyLog;
    const userAddress = checkUint64('userAddress', own ? log.userAddress : log);
    const result = native.vhostSetLogBase(this.handle, userAddress);
    this.call('VHOST_SET_LOG_BASE', result, userAddress);
    this.#log = this.#keep(this.#log, own ? log : undefined);
  }

  /** `VHOST_SET_LOG_FD`: signalled when the log was written; null for none. Throws `EINVAL`. */
  setLogFd(eventFd: EventFd | null): void {
    this.call('VHOST_SET_LOG_FD', native.vhostSetLogFd(this.handle, eventFd?.handle ?? -1));
  }

  /** `VHOST_NEW_WORKER`: vhost-net refuses it on every kernel (`ENOTTY`, `ENOBUFS`). */
  newWorker(): number {
    return this.call('VHOST_NEW_WORKER', native.vhostNewWorker(this.handle));
  }

  /** `VHOST_FREE_WORKER`: refused as {@link VhostDevice.newWorker}. */
  freeWorker(worker: number): void {
    this.call('VHOST_FREE_WORKER', native.vhostFreeWorker(this.handle, worker), worker);
  }

  /** The next IOTLB message, or undefined when none waits. Throws `EBADFD` without an IOTLB. */
  readIotlb(): IotlbFields | undefined {
    const result = native.iotlbRead(this.handle);
    if (result === EAGAIN) return undefined;
    if (typeof result === 'number') throw systemError(result, 'read(vhost)');
    return result;
  }

  /** Updates or invalidates the IOTLB. Throws `EINVAL`, `EFAULT`. */
  writeIotlb(message: IotlbMessage): void {
    checkInteger('version', message.version, VHOST_IOTLB_MSG, VHOST_IOTLB_MSG_V2);
    checkInteger('type', message.type, 0, 255);
    const { asid = 0, iova = 0n, size = 0n, userAddress = 0n, permission = 0 } = message;
    const { version, type } = message;
    checked(
      native.iotlbWrite(this.handle, version, asid, iova, size, userAddress, permission, type),
      'write(vhost)',
      undefined,
      [message],
    );
  }

  /**
   * Writes many messages in order, on the thread pool: the kernel waits for both rings with each. Throws
   * as {@link VhostDevice.writeIotlb}; those after the one that failed are not written.
   */
  writeIotlbAll(
    version: number,
    messages: readonly Omit<IotlbMessage, 'version'>[],
  ): Promise<void> {
    checkInteger('version', version, VHOST_IOTLB_MSG, VHOST_IOTLB_MSG_V2);
    const words = new BigUint64Array(messages.length * MESSAGE_WORDS);
    messages.forEach(({ iova = 0n, size = 0n, userAddress = 0n, permission = 0, type }, i) => {
      words.set([iova, size, userAddress, BigInt(permission), BigInt(type)], i * MESSAGE_WORDS);
    });
    return this.#serial(
      () => native.iotlbWriteAll(this.handle, version, words),
      (result) => checked(result, 'write(vhost)', undefined, [messages.length]),
    );
  }

  /**
   * Closes the device on the thread pool, after what is under way: the kernel waits for its worker.
   * The memory can be closed when the promise is fulfilled.
   */
  override closeAsync(): Promise<void> {
    const closing = this.#tail.then(() => super.closeAsync()).finally(() => this.#letGo());
    this.#tail = closing.catch(() => {});
    return closing;
  }

  /** Closes the device on this thread: it waits, tens of milliseconds, for the kernel's worker. */
  override close(): void {
    try {
      super.close();
    } finally {
      this.#letGo();
    }
  }

  /** A number that somebody else closed is an error, but the device is gone. */
  #letGo(): void {
    if (this.closed) this.#keepNothing();
  }

  /** Runs a call that waits for the worker, after those before it. */
  protected exclusive(request: string, call: () => Promise<number>, argument?: unknown) {
    return this.#serial(call, (value) => this.call(request, value, argument));
  }

  #serial(call: () => Promise<number>, check: (value: number) => number): Promise<void> {
    const result = this.#tail.then(call).then((value) => {
      check(value);
    });
    this.#tail = result.catch(() => {});
    return result;
  }

  /** The result of an ioctl, or its error. */
  protected call(request: string, result: number, ...args: unknown[]): number {
    return checked(result, `ioctl(${request})`, undefined, args);
  }

  /** Lets go of what the device knew and holds what it knows now. */
  #keep<T extends GuestMemory | DirtyLog>(before: T | undefined, now: T | undefined) {
    if (before !== now) before?.release(this);
    now?.hold(this);
    return now;
  }

  #keepNothing(): void {
    this.#memory = this.#keep(this.#memory, undefined);
    this.#log = this.#keep(this.#log, undefined);
  }
}
