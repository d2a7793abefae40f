/** A VM that writes down which eventfds it was given, for what needs no KVM. */
import type { KvmEvents } from '../../lib/device/assign-all.js';
import type { Ioeventfd, Irqfd } from '../../lib/host/kvm-vm.js';

export class FakeVm implements KvmEvents {
  readonly ioeventfds: Ioeventfd[] = [];
  readonly irqfds: Irqfd[] = [];
  /** Assigning fails where there are so many already. */
  room = Number.POSITIVE_INFINITY;
  /** Taking back fails. */
  stuck = false;

  assignIoeventfd(ioeventfd: Ioeventfd): void {
    if (this.ioeventfds.length >= this.room) throw new Error('no room for an ioeventfd');
    this.ioeventfds.push(ioeventfd);
  }

  deassignIoeventfd({ address, datamatch, eventFd }: Ioeventfd): void {
    const at = this.ioeventfds.findIndex(
      (one) =>
        one.address === address && one.datamatch === datamatch && one.eventFd.fd === eventFd.fd,
    );
    this.#remove(this.ioeventfds, at);
  }

  assignIrqfd(irqfd: Irqfd): void {
    if (this.irqfds.length >= this.room) throw new Error('no room for an irqfd');
    this.irqfds.push(irqfd);
  }

  deassignIrqfd({ gsi, eventFd }: Irqfd): void {
    const at = this.irqfds.findIndex((one) => one.gsi === gsi && one.eventFd.fd === eventFd.fd);
    this.#remove(this.irqfds, at);
  }

  #remove(list: unknown[], at: number): void {
    if (at < 0) throw new Error('none such');
    list.splice(at, 1);
    if (this.stuck) throw new Error('stuck');
  }
}
