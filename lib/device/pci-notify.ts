/** PciNotify: the addresses at which a driver notifies a card of its queues (virtio 1.3 §4.1.4.4). */
import { StateError } from '../errors.js';
import type { EventFd } from '../host/event-fd.js';
import type { Ioeventfd, KvmVm } from '../host/kvm-vm.js';
import { logDevice } from '../log.js';

/** Bytes from one queue's address to the next. */
export const NOTIFY_OFF_MULTIPLIER = 4;

/** Who takes ioeventfds: a {@link KvmVm}. */
export type IoeventfdHost = Pick<KvmVm, 'assignIoeventfd' | 'deassignIoeventfd'>;

export class PciNotify {
  readonly #kicks: readonly EventFd[];
  #vm: IoeventfdHost | undefined;
  #assigned: Ioeventfd[] = [];

  /** `kicks`: the eventfd of each queue that is signalled when it is notified. */
  constructor(kicks: readonly EventFd[]) {
    this.#kicks = kicks;
  }

  /** Whether KVM signals by itself. */
  get connected(): boolean {
    return this.#assigned.length > 0;
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
    const assigned: Ioeventfd[] = [];
    try {
      for (const [index, eventFd] of this.#kicks.entries()) {
        // A length of 0, any: KVM then need not decode the instruction to know that the write is a kick.
        const address = at + BigInt(NOTIFY_OFF_MULTIPLIER * index);
        const ioeventfd: Ioeventfd = { address, length: 0, eventFd };
        vm.assignIoeventfd(ioeventfd);
        assigned.push(ioeventfd);
      }
    } catch (error) {
      deassign(vm, assigned);
      throw error;
    }
    this.#assigned = assigned;
  }

  #deassign(): void {
    if (this.#vm) deassign(this.#vm, this.#assigned);
    this.#assigned = [];
  }
}

/** All of them, the last one first. */
function deassign(vm: IoeventfdHost, ioeventfds: readonly Ioeventfd[]): void {
  for (const ioeventfd of [...ioeventfds].reverse()) {
    try {
      vm.deassignIoeventfd(ioeventfd);
    } catch (error) {
      logDevice('an ioeventfd cannot be taken back: %o', error);
    }
  }
}
