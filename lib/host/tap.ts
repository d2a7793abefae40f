/** Tap: one queue of a TAP (or TUN) interface. */
import { constants as fs, readFileSync } from 'node:fs';
import { checkInteger, StateError } from '../errors.js';
import { type Fd, native } from '../native.js';
import { checked, checkedValue } from '../syscall.js';
import {
  IFF_BACKPRESSURE,
  IFF_MULTI_QUEUE,
  IFF_NO_PI,
  IFF_TAP,
  IFF_TUN,
  IFF_TUN_EXCL,
  IFF_VNET_HDR,
} from '../uapi/tun.js';
import { duplicate } from './descriptor.js';
import { checkInterfaceName } from './net-interface.js';
import { TunQueue, UNLIMITED_SEND_BUFFER } from './tun-queue.js';

const TUN_PATH = '/dev/net/tun';
const EBUSY = -16;

export interface TapOptions {
  /** Layer 2 (Ethernet frames) or layer 3 (IP packets). Default: `'tap'`. */
  mode?: 'tap' | 'tun';
  /** A virtio-net header before every frame. Default: true. */
  vnetHeader?: boolean;
  /** Let other queues join. All queues of an interface must agree. Default: as one that exists has it. */
  multiQueue?: boolean;
  /**
   * Let the host's senders wait while the reader has not read, rather than drop what does not fit into
   * the queue (Linux 7.x). Default: false.
   */
  backpressure?: boolean;
  /** Fail with `EBUSY` rather than join an interface that exists. Default: false. */
  exclusive?: boolean;
}

/**
 * One queue of a TAP interface. Closing the last queue removes the interface, unless it was made to
 * persist. Packets go through a vhost backend, never through this class.
 */
export class Tap extends TunQueue {
  /** Whether opening made the interface; false where it joined one. */
  readonly created: boolean;

  private constructor(fd: Fd, name: string, created: boolean) {
    super(fd, 'tap', name);
    this.created = created;
  }

  get kind(): string {
    return this.layer === 2 ? 'TAP' : 'TUN';
  }

  /**
   * Creates an interface or joins an existing one as its next queue. `name` may hold one `%d`, for
   * which the kernel takes the first free number. Throws `EPERM` without CAP_NET_ADMIN, `EBUSY`
   * where somebody has its only queue, `EINVAL` where it exists with another mode, `E2BIG` for the
   * 257th queue, `ERR_INVALID_ARG_VALUE` for a name that cannot be, `ERR_FEATURES_NOT_OFFERED` for
   * backpressure where the kernel lacks it.
   */
  static open(name: string, options: TapOptions = {}): Tap {
    checkInterfaceName(name);
    const { mode = 'tap', vnetHeader = true, multiQueue, exclusive, backpressure } = options;
    let flags = (mode === 'tap' ? IFF_TAP : IFF_TUN) | IFF_NO_PI;
    if (vnetHeader) flags |= IFF_VNET_HDR;
    if (multiQueue) flags |= IFF_MULTI_QUEUE;
    if (backpressure) flags |= backpressureFlag();
    const fd = openTun();
    try {
      // Not asked for by name before: for one that is not there the kernel runs modprobe.
      let attached = native.tunSetIff(fd, name, flags | IFF_TUN_EXCL);
      const created = attached !== EBUSY;
      if (attached === EBUSY && !exclusive) {
        if (multiQueue === undefined && allowsMany(name)) flags |= IFF_MULTI_QUEUE;
        attached = native.tunSetIff(fd, name, flags);
      }
      const { name: given } = checkedValue<{ name: string }>(attached, 'ioctl(TUNSETIFF)', name, [
        flags,
      ]);
      return new Tap(fd, given, created);
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

  /** Bytes that may wait to be sent; a new TAP has 2^31 - 1, which vhost's batching needs. */
  get sendBuffer(): number {
    return checked(native.tunGetSndbuf(this.handle), 'ioctl(TUNGETSNDBUF)');
  }

  override avoidBatches(): void {
    // Of what somebody else prepared only the limit that is none matters.
    if (this.sendBuffer === UNLIMITED_SEND_BUFFER) super.avoidBatches();
  }

  /** Whether the interface outlives its last queue. Throws `EPERM`. */
  setPersist(on: boolean): void {
    this.set('TUNSETPERSIST', native.tunSetPersist(this.handle, on ? 1 : 0), on);
  }

  /** The user who may open it without CAP_NET_ADMIN. */
  setOwner(uid: number): void {
    this.set('TUNSETOWNER', native.tunSetOwner(this.handle, uid), uid);
  }

  /** The group whose members may open it without CAP_NET_ADMIN. */
  setGroup(gid: number): void {
    this.set('TUNSETGROUP', native.tunSetGroup(this.handle, gid), gid);
  }

  /** The ARPHRD_* type of the link; it must be down. Throws `EBUSY`. */
  setLinkType(type: number): void {
    this.set('TUNSETLINK', native.tunSetLink(this.handle, type), type);
  }

  /** Only frames to these MAC addresses (6 bytes each, one after another) reach the reader. */
  setTxFilter(addresses: Uint8Array, flags = 0): number {
    const result = native.tunSetTxFilter(this.handle, flags, addresses);
    return this.set('TUNSETTXFILTER', result, [flags, addresses.length / 6]);
  }

  /** A classic BPF program, 8 bytes an instruction, for what reaches the reader. */
  attachFilter(program: Uint8Array): void {
    this.set('TUNATTACHFILTER', native.tunAttachFilter(this.handle, program), program.length / 8);
  }

  detachFilter(): void {
    this.set('TUNDETACHFILTER', native.tunDetachFilter(this.handle), undefined);
  }

  /** An eBPF program's descriptor that picks the queue, or -1 for none. */
  setSteeringEbpf(program: number): void {
    this.set('TUNSETSTEERINGEBPF', native.tunSetSteeringEbpf(this.handle, program), program);
  }

  /** An eBPF program's descriptor that filters, or -1 for none. */
  setFilterEbpf(program: number): void {
    this.set('TUNSETFILTEREBPF', native.tunSetFilterEbpf(this.handle, program), program);
  }

  /** Plugs or unplugs the cable, as the host sees it. */
  setCarrier(on: boolean): void {
    this.set('TUNSETCARRIER', native.tunSetCarrier(this.handle, on ? 1 : 0), on);
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

/** The kernel would take the flag for none, and drop frames all the same. */
function backpressureFlag(): number {
  if ((Tap.hostFeatures() & IFF_BACKPRESSURE) !== 0) return IFF_BACKPRESSURE;
  throw new StateError(
    'ERR_FEATURES_NOT_OFFERED',
    'this kernel’s TUN driver has no IFF_BACKPRESSURE: it drops what a slow reader leaves',
    'leave backpressure out, or use a kernel that has it (Linux 7.x)',
  );
}
