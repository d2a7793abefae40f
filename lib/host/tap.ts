/** Tap: one queue of a TAP (or TUN) interface. */
import { constants as fs, readFileSync } from 'node:fs';
import { checkInteger, type VhostError } from '../errors.js';
import { type Fd, native } from '../native.js';
import { checked, checkedValue } from '../syscall.js';
import {
  IFF_ATTACH_QUEUE,
  IFF_DETACH_QUEUE,
  IFF_MULTI_QUEUE,
  IFF_NO_PI,
  IFF_TAP,
  IFF_TUN,
  IFF_TUN_EXCL,
  IFF_VNET_HDR,
} from '../uapi/tun.js';
import { Descriptor, duplicate } from './descriptor.js';
import { checkInterfaceName, NetInterface } from './net-interface.js';
import { mostOffload } from './offload-probe.js';

const TUN_PATH = '/dev/net/tun';

/** Bytes of a new TAP's send buffer: vhost's leave to send in batches, past the TAP's own parsing. */
export const UNLIMITED_SEND_BUFFER = 0x7fff_ffff;

export interface TapOptions {
  /** Layer 2 (Ethernet frames) or layer 3 (IP packets). Default: `'tap'`. */
  mode?: 'tap' | 'tun';
  /** A virtio-net header before every frame. Default: true. */
  vnetHeader?: boolean;
  /** Let other queues join. All queues of an interface must agree. Default: as one that exists has it. */
  multiQueue?: boolean;
  /** Fail with `EBUSY` rather than join an interface that exists. Default: false. */
  exclusive?: boolean;
}

/**
 * One queue of a TAP interface. Closing the last queue removes the interface, unless it was made to
 * persist. Packets go through a vhost backend, never through this class.
 */
export class Tap extends Descriptor {
  /** Whether opening made the interface; false where it joined one. */
  readonly created: boolean;
  /** As last heard; a rename changes it behind our back. */
  #name: string;
  #offload = 0;

  private constructor(fd: Fd, name: string, created: boolean) {
    super(fd, `tap ${name}`);
    this.#name = name;
    this.created = created;
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

  /**
   * Creates an interface or joins an existing one as its next queue. `name` may hold one `%d`, for
   * which the kernel takes the first free number. Throws `EPERM` without CAP_NET_ADMIN, `EBUSY`
   * where somebody has its only queue, `EINVAL` where it exists with another mode, `E2BIG` for the
   * 257th queue, `ERR_INVALID_ARG_VALUE` for a name that cannot be.
   */
  static open(name: string, options: TapOptions = {}): Tap {
    checkInterfaceName(name);
    const existed = new NetInterface(name).exists;
    let flags = (options.mode ?? 'tap') === 'tap' ? IFF_TAP : IFF_TUN;
    flags |= IFF_NO_PI;
    if (options.vnetHeader ?? true) flags |= IFF_VNET_HDR;
    if (options.multiQueue ?? allowsMany(name)) flags |= IFF_MULTI_QUEUE;
    if (options.exclusive) flags |= IFF_TUN_EXCL;
    const fd = openTun();
    try {
      const attached = checkedValue<{ name: string; flags: number }>(
        native.tunSetIff(fd, name, flags),
        'ioctl(TUNSETIFF)',
        name,
        [flags],
      );
      return new Tap(fd, attached.name, !existed);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /**
   * Opens `count` queues (1 to 256) of one interface, as {@link Tap.open} does; then nothing stays open
   * where one fails.
   */
  static openQueues(name: string, count: number, options: TapOptions = {}): Tap[] {
    checkInteger('count', count, 1, 256);
    const taps: Tap[] = [];
    try {
      const multiQueue = count > 1 ? true : options.multiQueue;
      const all = { ...options, ...(multiQueue === undefined ? {} : { multiQueue }) };
      const first = Tap.open(name, all);
      taps.push(first);
      const rest = { ...all, exclusive: false };
      while (taps.length < count) taps.push(Tap.open(first.name, rest));
      return taps;
    } catch (error) {
      for (const tap of taps) tap.close();
      throw error;
    }
  }

  /** A duplicate of a queue that somebody else opened. Throws `EBADF`, `EBADFD`, `ENOTTY`. */
  static fromFd(number: number): Tap {
    const fd = duplicate(number);
    try {
      const attached = checkedValue<{ name: string; flags: number }>(
        native.tunGetIff(fd),
        'ioctl(TUNGETIFF)',
      );
      return new Tap(fd, attached.name, false);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** What this kernel's driver can do: `IFF_*` bits (`TUNGETFEATURES`). */
  static hostFeatures(): number {
    const fd = openTun();
    try {
      return checked(native.tunGetFeatures(fd), 'ioctl(TUNGETFEATURES)');
    } finally {
      fd.close();
    }
  }

  /** The interface's present name, also after it was renamed. */
  get name(): string {
    return this.#iff().name;
  }

  /** The queue's `IFF_*` flags. */
  get flags(): number {
    return this.#iff().flags;
  }

  /** Whether frames carry a virtio-net header. */
  get hasVnetHeader(): boolean {
    return (this.flags & IFF_VNET_HDR) !== 0;
  }

  /** Bytes of the virtio-net header: 10, 12, 20 or 24. */
  get vnetHeaderSize(): number {
    return checked(native.tunGetVnetHdrSz(this.handle), 'ioctl(TUNGETVNETHDRSZ)');
  }

  /** Throws `EINVAL` below 10 bytes. */
  setVnetHeaderSize(bytes: number): void {
    this.#set('TUNSETVNETHDRSZ', native.tunSetVnetHdrSz(this.handle, bytes), bytes);
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
    this.#set('TUNSETOFFLOAD', native.tunSetOffload(this.handle, flags), flags);
    this.#offload = flags;
  }

  /** As {@link Tap.setOffload}; false where the kernel refuses the set with `EINVAL`. */
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
   * Which `TUN_F_*` this TAP can have together, found out by trying; then {@link Tap.offload} is set
   * again.
   */
  probeOffload(): number {
    const before = this.#offload;
    try {
      return mostOffload((flags) => this.trySetOffload(flags));
    } finally {
      this.setOffload(before);
    }
  }

  /** Bytes that may wait to be sent; a new TAP has 2^31 - 1, which vhost's batching needs. */
  get sendBuffer(): number {
    return checked(native.tunGetSndbuf(this.handle), 'ioctl(TUNGETSNDBUF)');
  }

  setSendBuffer(bytes: number): void {
    checkInteger('bytes', bytes, 1, 0x7fff_ffff);
    this.#set('TUNSETSNDBUF', native.tunSetSndbuf(this.handle, bytes), bytes);
  }

  /** Whether the interface outlives its last queue. Throws `EPERM`. */
  setPersist(on: boolean): void {
    this.#set('TUNSETPERSIST', native.tunSetPersist(this.handle, on ? 1 : 0), on);
  }

  /** The user who may open it without CAP_NET_ADMIN. */
  setOwner(uid: number): void {
    this.#set('TUNSETOWNER', native.tunSetOwner(this.handle, uid), uid);
  }

  /** The group whose members may open it without CAP_NET_ADMIN. */
  setGroup(gid: number): void {
    this.#set('TUNSETGROUP', native.tunSetGroup(this.handle, gid), gid);
  }

  /** The ARPHRD_* type of the link; it must be down. Throws `EBUSY`. */
  setLinkType(type: number): void {
    this.#set('TUNSETLINK', native.tunSetLink(this.handle, type), type);
  }

  /** Only frames to these MAC addresses (6 bytes each, one after another) reach the reader. */
  setTxFilter(addresses: Uint8Array, flags = 0): number {
    const result = native.tunSetTxFilter(this.handle, flags, addresses);
    return checked(result, 'ioctl(TUNSETTXFILTER)', this.#name, [flags, addresses.length / 6]);
  }

  /** A classic BPF program, 8 bytes an instruction, for what reaches the reader. */
  attachFilter(program: Uint8Array): void {
    this.#set('TUNATTACHFILTER', native.tunAttachFilter(this.handle, program), program.length / 8);
  }

  detachFilter(): void {
    this.#set('TUNDETACHFILTER', native.tunDetachFilter(this.handle), undefined);
  }

  /** Attaches or detaches this queue while the interface has others (`TUNSETQUEUE`). */
  setQueue(state: 'attached' | 'detached'): void {
    const flags = state === 'attached' ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
    this.#set('TUNSETQUEUE', native.tunSetQueue(this.handle, flags), flags);
  }

  /** An eBPF program's descriptor that picks the queue, or -1 for none. */
  setSteeringEbpf(program: number): void {
    this.#set('TUNSETSTEERINGEBPF', native.tunSetSteeringEbpf(this.handle, program), program);
  }

  /** An eBPF program's descriptor that filters, or -1 for none. */
  setFilterEbpf(program: number): void {
    this.#set('TUNSETFILTEREBPF', native.tunSetFilterEbpf(this.handle, program), program);
  }

  /** Plugs or unplugs the cable, as the host sees it. */
  setCarrier(on: boolean): void {
    this.#set('TUNSETCARRIER', native.tunSetCarrier(this.handle, on ? 1 : 0), on);
  }

  /** Byte order of the virtio-net header of a legacy guest. */
  setVnetEndian(order: 'little' | 'big'): void {
    const le = order === 'little' ? 1 : 0;
    this.#set('TUNSETVNETLE', native.tunSetVnetLe(this.handle, le), le);
    if (order === 'big') this.#set('TUNSETVNETBE', native.tunSetVnetBe(this.handle, 1), 1);
  }

  #iff(): { name: string; flags: number } {
    return checkedValue(native.tunGetIff(this.handle), 'ioctl(TUNGETIFF)');
  }

  #set(request: string, result: number, argument: unknown): void {
    checked(result, `ioctl(${request})`, this.#name, [argument]);
  }
}

/** Whether an interface of this name exists and was made for several queues. */
function allowsMany(name: string): boolean {
  try {
    const flags = Number(readFileSync(`/sys/class/net/${name}/tun_flags`, 'utf8'));
    return (flags & IFF_MULTI_QUEUE) !== 0;
  } catch {
    return false;
  }
}

function openTun(): Fd {
  return checkedValue<Fd>(native.open(TUN_PATH, fs.O_RDWR | fs.O_NONBLOCK), 'open', TUN_PATH);
}
