/** VhostNet: `/dev/vhost-net`, every ioctl under its kernel name. */
import { constants as fs } from 'node:fs';
import { checkInteger, checkUint64 } from '../errors.js';
import type { Descriptor } from '../host/descriptor.js';
import { duplicate } from '../host/descriptor.js';
import type { EventFd } from '../host/event-fd.js';
import { type Fd, native } from '../native.js';
import { checkedValue } from '../syscall.js';
import { VHOST_VRING_BIG_ENDIAN, VHOST_VRING_LITTLE_ENDIAN } from '../uapi/vhost.js';
import { VhostDevice } from './vhost-device.js';

const VHOST_NET_PATH = '/dev/vhost-net';

/** Addresses in this process of a ring's parts. */
export interface VringUserAddresses {
  desc: bigint;
  avail: bigint;
  used: bigint;
  /** Guest-physical address for the dirty log of the used ring; with it, its writes are logged. */
  log?: bigint;
}

/**
 * A vhost-net device: one queue pair, ring 0 receives (the device writes), ring 1 transmits.
 *
 * Ring methods throw `EPERM` without an owner, `ENOBUFS` for an index of 2 or more,
 * `ERR_OUT_OF_RANGE` for one that is no index, and, where they change a ring, `EBUSY` while it has a
 * backend.
 */
export class VhostNet extends VhostDevice {
  private constructor(fd: Fd) {
    super(fd, 'vhost-net');
  }

  /** Opens `/dev/vhost-net`. Throws `ENOENT`, `EACCES`, `EMFILE`, each with a hint. */
  static open(): VhostNet {
    const flags = fs.O_RDWR | fs.O_NONBLOCK;
    return new VhostNet(
      checkedValue<Fd>(native.open(VHOST_NET_PATH, flags), 'open', VHOST_NET_PATH),
    );
  }

  /** A duplicate of a device that somebody else opened. Throws `EBADF`. */
  static fromFd(fd: number): VhostNet {
    return new VhostNet(duplicate(fd));
  }

  /** `VHOST_SET_VRING_NUM`: descriptors, a power of two up to 32768. Throws `EINVAL`, `EBUSY`. */
  setVringNum(index: number, num: number): void {
    checkInteger('num', num, 0, 0xffff_ffff);
    this.call(
      'VHOST_SET_VRING_NUM',
      native.vhostSetVringNum(this.#handleFor(index), index, num),
      index,
      num,
    );
  }

  /** `VHOST_SET_VRING_BASE`: next avail index, 0 to 65535. Throws `EINVAL`, `EBUSY`. */
  setVringBase(index: number, base: number): void {
    checkInteger('base', base, 0, 0xffff_ffff);
    const result = native.vhostSetVringBase(this.#handleFor(index), index, base);
    this.call('VHOST_SET_VRING_BASE', result, index, base);
  }

  /** `VHOST_GET_VRING_BASE`: next avail index. It does not stop the ring. */
  getVringBase(index: number): number {
    return this.call(
      'VHOST_GET_VRING_BASE',
      native.vhostGetVringBase(this.#handleFor(index), index),
      index,
    );
  }

  /**
   * `VHOST_SET_VRING_ADDR`. Throws `EINVAL` for a misaligned address, or one that is not accessible
   * while the ring has a backend; `EFAULT`. Allowed while running.
   */
  setVringAddr(index: number, addresses: VringUserAddresses): void {
    const { desc, avail, used, log } = addresses;
    for (const [name, value] of Object.entries({ desc, avail, used, log: log ?? 0n })) {
      checkUint64(name, value);
    }
    const flags = log === undefined ? 0 : 1;
    this.call(
      'VHOST_SET_VRING_ADDR',
      native.vhostSetVringAddr(this.#handleFor(index), index, flags, desc, avail, used, log ?? 0n),
      index,
      addresses,
    );
  }

  /** `VHOST_SET_VRING_KICK`; null unbinds. Throws `EINVAL` for what is no eventfd. */
  setVringKick(index: number, eventFd: EventFd | null): void {
    const result = native.vhostSetVringKick(this.#handleFor(index), index, eventFd?.handle ?? -1);
    this.call('VHOST_SET_VRING_KICK', result, index, eventFd?.fd ?? -1);
  }

  /** `VHOST_SET_VRING_CALL`; null unbinds. Allowed while running. */
  setVringCall(index: number, eventFd: EventFd | null): void {
    const result = native.vhostSetVringCall(this.#handleFor(index), index, eventFd?.handle ?? -1);
    this.call('VHOST_SET_VRING_CALL', result, index, eventFd?.fd ?? -1);
  }

  /** `VHOST_SET_VRING_ERR`; null unbinds. Signalled when the worker gives the ring up. */
  setVringErr(index: number, eventFd: EventFd | null): void {
    const result = native.vhostSetVringErr(this.#handleFor(index), index, eventFd?.handle ?? -1);
    this.call('VHOST_SET_VRING_ERR', result, index, eventFd?.fd ?? -1);
  }

  /** `VHOST_SET_VRING_ENDIAN`. Throws `ENOTTY` where the kernel was built without it. */
  setVringEndian(index: number, order: 'little' | 'big'): void {
    const value = order === 'big' ? VHOST_VRING_BIG_ENDIAN : VHOST_VRING_LITTLE_ENDIAN;
    const result = native.vhostSetVringEndian(this.#handleFor(index), index, value);
    this.call('VHOST_SET_VRING_ENDIAN', result, index, order);
  }

  /** `VHOST_GET_VRING_ENDIAN`. Throws `ENOTTY`. */
  getVringEndian(index: number): 'little' | 'big' {
    const result = native.vhostGetVringEndian(this.#handleFor(index), index);
    return this.call('VHOST_GET_VRING_ENDIAN', result, index) === VHOST_VRING_BIG_ENDIAN
      ? 'big'
      : 'little';
  }

  /** `VHOST_SET_VRING_BUSYLOOP_TIMEOUT`: how long the worker polls before it sleeps, in µs. */
  setVringBusyloopTimeout(index: number, microseconds: number): void {
    checkInteger('microseconds', microseconds, 0, 0xffff_ffff);
    const result = native.vhostSetVringBusyloopTimeout(this.#handleFor(index), index, microseconds);
    this.call('VHOST_SET_VRING_BUSYLOOP_TIMEOUT', result, index, microseconds);
  }

  /** `VHOST_GET_VRING_BUSYLOOP_TIMEOUT`, in µs. */
  getVringBusyloopTimeout(index: number): number {
    const result = native.vhostGetVringBusyloopTimeout(this.#handleFor(index), index);
    return this.call('VHOST_GET_VRING_BUSYLOOP_TIMEOUT', result, index);
  }

  /** `VHOST_ATTACH_VRING_WORKER`: vhost-net refuses it on every kernel. */
  attachVringWorker(index: number, worker: number): void {
    const result = native.vhostAttachVringWorker(this.#handleFor(index), index, worker);
    this.call('VHOST_ATTACH_VRING_WORKER', result, index, worker);
  }

  /** `VHOST_GET_VRING_WORKER`: vhost-net refuses it on every kernel. */
  getVringWorker(index: number): number {
    const result = native.vhostGetVringWorker(this.#handleFor(index), index);
    return this.call('VHOST_GET_VRING_WORKER', result, index);
  }

  /**
   * `VHOST_NET_SET_BACKEND`: the ring starts on this TAP queue, macvtap or raw packet socket, or stops
   * (null). Throws `EFAULT` without a memory table or with rings outside it, `ENOTSOCK`, `EINVAL`.
   */
  setBackend(index: number, backend: Descriptor | null): Promise<void> {
    return this.exclusive(
      'VHOST_NET_SET_BACKEND',
      () => native.vhostNetSetBackend(this.#handleFor(index), index, backend?.handle ?? -1),
      [index, backend?.fd ?? -1],
    );
  }

  /** The handle, once the index is sure to be a number that the kernel can be asked about. */
  #handleFor(index: number): Fd {
    checkInteger('index', index, 0, 0xffff_ffff);
    return this.handle;
  }
}
