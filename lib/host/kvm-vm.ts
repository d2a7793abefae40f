/** KvmVm: gives kick and call eventfds to KVM, on a VM that the caller owns. */
import { constants as fs } from 'node:fs';
import { checkInteger, checkUint64, rangeError } from '../errors.js';
import { type Fd, native } from '../native.js';
import { checked, checkedValue } from '../syscall.js';
import {
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  KVM_IOEVENTFD_FLAG_DEASSIGN,
  KVM_IOEVENTFD_FLAG_PIO,
  KVM_IRQFD_FLAG_DEASSIGN,
  KVM_IRQFD_FLAG_RESAMPLE,
} from '../uapi/kvm.js';
import { Descriptor, duplicate } from './descriptor.js';
import type { EventFd } from './event-fd.js';

/** A guest write that signals an eventfd instead of leaving the guest. */
export interface Ioeventfd {
  /** Guest-physical address, or the port where `space` is `'pio'`. */
  address: bigint;
  /** Default: `'mmio'`. */
  space?: 'mmio' | 'pio';
  /** Bytes of the write: 1, 2, 4 or 8; 0 (any) only without `datamatch`. */
  length: 0 | 1 | 2 | 4 | 8;
  /** Only writes of this value. Default: any value. */
  datamatch?: bigint;
  eventFd: EventFd;
}

/** An eventfd that interrupts the guest. */
export interface Irqfd {
  /** Global system interrupt: an index of the VM's interrupt routing. */
  gsi: number;
  eventFd: EventFd;
  /** For a level interrupt: KVM lowers the line and signals this when the guest acknowledges. */
  resample?: EventFd;
}

/** The eventfd side of a KVM virtual machine. The VM itself stays the caller's. */
export class KvmVm extends Descriptor {
  private constructor(fd: Fd) {
    super(fd, 'kvm vm');
  }

  /** A duplicate of a VM's descriptor. It keeps the VM alive until it is closed. Throws `EBADF`. */
  static fromFd(fd: number): KvmVm {
    return new KvmVm(duplicate(fd));
  }

  /** Registers an ioeventfd. Throws `EEXIST`, `ENOSPC`, `EINVAL`. */
  assignIoeventfd(ioeventfd: Ioeventfd): void {
    this.#ioeventfd(ioeventfd, 0);
  }

  /** Takes an ioeventfd back: the same fields as when it was registered. Throws `ENOENT`. */
  deassignIoeventfd(ioeventfd: Ioeventfd): void {
    this.#ioeventfd(ioeventfd, KVM_IOEVENTFD_FLAG_DEASSIGN);
  }

  /** Registers an irqfd. Throws `EBUSY`, `EINVAL`, `ENODEV`. */
  assignIrqfd(irqfd: Irqfd): void {
    this.#irqfd(irqfd, 0);
  }

  /** Takes an irqfd back. The kernel does not complain of one that was not registered. */
  deassignIrqfd(irqfd: Irqfd): void {
    this.#irqfd(irqfd, KVM_IRQFD_FLAG_DEASSIGN);
  }

  #ioeventfd(ioeventfd: Ioeventfd, flags: number): void {
    const { address, length, datamatch, eventFd } = ioeventfd;
    checkUint64('address', address);
    if (![0, 1, 2, 4, 8].includes(length)) {
      throw rangeError(`the length of an ioeventfd is 0, 1, 2, 4 or 8 bytes, not ${length}`);
    }
    let all = flags;
    if (ioeventfd.space === 'pio') all |= KVM_IOEVENTFD_FLAG_PIO;
    if (datamatch !== undefined) all |= KVM_IOEVENTFD_FLAG_DATAMATCH;
    const match = checkUint64('datamatch', datamatch ?? 0n);
    checked(
      native.kvmIoeventfd(this.handle, address, length, match, eventFd.handle, all),
      'ioctl(KVM_IOEVENTFD)',
      undefined,
      [address, length, match, all],
    );
  }

  #irqfd({ gsi, eventFd, resample }: Irqfd, flags: number): void {
    checkInteger('gsi', gsi, 0, 0xffff_ffff);
    const all = flags === 0 && resample ? KVM_IRQFD_FLAG_RESAMPLE : flags;
    checked(
      native.kvmIrqfd(this.handle, gsi, eventFd.handle, resample?.handle ?? -1, all),
      'ioctl(KVM_IRQFD)',
      undefined,
      [gsi, all],
    );
  }
}

/** @internal Opens `/dev/kvm`. */
export function openKvm(): Fd {
  return checkedValue<Fd>(native.open('/dev/kvm', fs.O_RDWR), 'open', '/dev/kvm');
}
