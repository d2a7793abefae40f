/** PciNotify: the addresses at which a driver notifies a card of its queues (virtio 1.3 §4.1.4.4). */
import { StateError } from '../errors.js';
import type { EventFd } from '../host/event-fd.js';
import type { Ioeventfd, KvmVm } from '../host/kvm-vm.js';
import { logDevice } from '../log.js';
import { assignAll } from './assign-all.js';

/** Bytes from one queue's address to the next. */
export const NOTIFY_OFF_MULTIPLIER = 4;

/** Who takes ioeventfds: a {@link KvmVm}. */
export type IoeventfdHost = Pick<KvmVm, 'assignIoeventfd' | 'deassignIoeventfd'>;

export class PciNotify {
  readonly #kicks: readonly EventFd[];
  #vm: IoeventfdHost | undefined;
  #takeBack: (() => void) | undefined;

  /** `kicks`: the eventfd of each queue that is signalled when it is notified. */
  constructor(kicks: readonly EventFd[]) {
    this.#kicks = kicks;
  }

  /**
   * From now on KVM signals, wherever the addresses are: `at` is the first one, undefined while there are
   * none. Throws `ERR_BUSY` where it does already, `EEXIST`, `ENOSPC`; nothing is connected then.
   */
  connect(vm: IoeventfdHost, at: bigint | undefined): void {
    if (this.#vm) throw new StateError('ERR_BUSY', 'the transport is connected to a VM already');
    if (at !== undefined) this.#assign(vm, at);
    this.#vm = vm;
  }

  disconnect(): void {
    this.#deassign();
    this.#vm = undefined;
  }

  /** The guest moved the addresses. Where KVM cannot follow, its writes come to {@link PciNotify.write}. */
  move(at: bigint | undefined): void {
    this.#deassign();
    if (!this.#vm || at === undefined) return;
    try {
      this.#assign(this.#vm, at);
    } catch (error) {
      logDevice('the ioeventfds cannot be moved to 0x%s: %o', at.toString(16), error);
    }
  }

  /** A write, of whatever length and value, that KVM did not take: as with an ioeventfd. */
  write(offset: number): void {
    const kick = this.#kicks[offset / NOTIFY_OFF_MULTIPLIER];
    if (kick) kick.signal();
    else logDevice('a notification at 0x%s, where no queue is', offset.toString(16));
  }

  #assign(vm: IoeventfdHost, at: bigint): void {
    // A length of 0, any: KVM then need not decode the instruction to know that the write is a kick.
    const ioeventfds = this.#kicks.map((eventFd, index): Ioeventfd => {
      return { address: at + BigInt(NOTIFY_OFF_MULTIPLIER * index), length: 0, eventFd };
    });
    this.#takeBack = assignAll(
      ioeventfds,
      (ioeventfd) => vm.assignIoeventfd(ioeventfd),
      (ioeventfd) => vm.deassignIoeventfd(ioeventfd),
    );
  }

  /** A guest that moves its BAR must not see what fails here, nor must who closes the card. */
  #deassign(): void {
    try {
      this.#takeBack?.();
    } catch (error) {
      logDevice('an ioeventfd cannot be taken back: %o', error);
    }
    this.#takeBack = undefined;
  }
}
