/** TunQueue: what a queue of a TAP, a TUN and a macvtap have in common: the ioctls of linux/if_tun.h. */
import { checkInteger, type VhostError } from '../errors.js';
import { type Fd, native } from '../native.js';
import { checked, checkedValue } from '../syscall.js';
import { IFF_ATTACH_QUEUE, IFF_DETACH_QUEUE, IFF_TAP, IFF_VNET_HDR } from '../uapi/tun.js';
import { Descriptor } from './descriptor.js';
import { NetInterface } from './net-interface.js';
import { mostOffload } from './offload-probe.js';
import type { PacketQueue } from './packet-queue.js';

/** Bytes of a send buffer without a limit: vhost's leave to send in batches, past the queue's own parsing. */
export const UNLIMITED_SEND_BUFFER = 0x7fff_ffff;

/** Frames go through a vhost backend, never through this class. */
export abstract class TunQueue extends Descriptor implements PacketQueue {
  abstract readonly kind: string;
  /** As last heard; a rename changes it behind our back. */
  #name: string;
  #offload = 0;

  /** @internal */
  protected constructor(fd: Fd, what: string, name: string) {
    super(fd, `${what} ${name}`);
    this.#name = name;
  }

  /**
   * The interface, as the host sees it, by its present name; after it was deleted or this queue closed,
   * by its last one.
   */
  get interface(): NetInterface {
    const attached = this.closed ? 0 : native.tunGetIff(this.handle);
    if (typeof attached !== 'number') this.#name = attached.name;
    return new NetInterface(this.#name);
  }

  /** The interface's present name, also after it was renamed. */
  get name(): string {
    return this.#iff().name;
  }

  /** The queue's `IFF_*` flags. */
  get flags(): number {
    return this.#iff().flags;
  }

  get layer(): 2 | 3 {
    return (this.flags & IFF_TAP) !== 0 ? 2 : 3;
  }

  /** Whether frames carry a virtio-net header. */
  get hasVnetHeader(): boolean {
    return (this.flags & IFF_VNET_HDR) !== 0;
  }

  /** Bytes of the virtio-net header, where there is one: 10, 12, 20 or 24. */
  get vnetHeaderSize(): number {
    return checked(native.tunGetVnetHdrSz(this.handle), 'ioctl(TUNGETVNETHDRSZ)');
  }

  get headerLength(): number {
    return this.hasVnetHeader ? this.vnetHeaderSize : 0;
  }

  headerCure(bytes: number): string {
    if (bytes === 0) return 'set vnetHeader: false';
    return this.hasVnetHeader ? `call setVnetHeaderSize(${bytes})` : 'set vnetHeader: true';
  }

  /** Throws `EINVAL` below 10 bytes. */
  setVnetHeaderSize(bytes: number): void {
    this.set('TUNSETVNETHDRSZ', native.tunSetVnetHdrSz(this.handle, bytes), bytes);
  }

  /**
   * `TUN_F_*` that were last set through this object, 0 where none were: what the interface has from
   * others, who share it with every queue, the kernel does not tell.
   */
  get offload(): number {
    return this.#offload;
  }

  /** `TUN_F_*`: what the reader accepts. Throws `EINVAL` for a set the kernel forbids or lacks. */
  setOffload(flags: number): void {
    this.set('TUNSETOFFLOAD', native.tunSetOffload(this.handle, flags), flags);
    this.#offload = flags;
  }

  /** As {@link TunQueue.setOffload}; false where the kernel refuses the set with `EINVAL`. */
  trySetOffload(flags: number): boolean {
    try {
      this.setOffload(flags);
      return true;
    } catch (error) {
      if ((error as VhostError).code === 'EINVAL') return false;
      throw error;
    }
  }

  /**
   * Which `TUN_F_*` this queue can have together, found out by trying; then {@link TunQueue.offload} is
   * set again.
   */
  probeOffload(): number {
    const before = this.#offload;
    try {
      return mostOffload((flags) => this.trySetOffload(flags));
    } finally {
      this.setOffload(before);
    }
  }

  /** Bytes that may wait to be sent; vhost sends in batches with 2^31 - 1. */
  setSendBuffer(bytes: number): void {
    checkInteger('bytes', bytes, 1, UNLIMITED_SEND_BUFFER);
    this.set('TUNSETSNDBUF', native.tunSetSndbuf(this.handle, bytes), bytes);
  }

  avoidBatches(): void {
    this.setSendBuffer(UNLIMITED_SEND_BUFFER - 1);
  }

  /** Attaches or detaches this queue while the interface has others (`TUNSETQUEUE`). */
  setQueue(state: 'attached' | 'detached'): void {
    const flags = state === 'attached' ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
    this.set('TUNSETQUEUE', native.tunSetQueue(this.handle, flags), flags);
  }

  /**
   * Byte order of the virtio-net header of a legacy guest. Throws `EINVAL` for `'big'` where the kernel
   * was built without it.
   */
  setVnetEndian(order: 'little' | 'big'): void {
    const le = order === 'little' ? 1 : 0;
    this.set('TUNSETVNETLE', native.tunSetVnetLe(this.handle, le), le);
    if (order === 'big') this.set('TUNSETVNETBE', native.tunSetVnetBe(this.handle, 1), 1);
  }

  /** The result of a request, or its error. */
  protected set(request: string, result: number, argument: unknown): number {
    return checked(result, `ioctl(${request})`, this.#name, [argument]);
  }

  #iff(): { name: string; flags: number } {
    return checkedValue(native.tunGetIff(this.handle), 'ioctl(TUNGETIFF)');
  }
}
