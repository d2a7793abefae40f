/** DeviceQueue: one queue of a card, as its driver set it up, and the eventfds of its notifications. */
import { EventFd } from '../host/event-fd.js';
import { checkRingSize, type VringAddresses } from '../vring/layout.js';

export class DeviceQueue {
  /** Descriptors at most: a power of two. */
  readonly maxSize: number;
  /** Signalled when the driver notifies: a transport gives it to KVM as an ioeventfd, or signals it. */
  readonly kick: EventFd;
  /** Signalled when the device is to interrupt: a transport gives it to KVM as an irqfd, or listens. */
  readonly call: EventFd;
  /** What the driver wrote. */
  size: number;
  addresses: VringAddresses = { desc: 0n, avail: 0n, used: 0n };
  /** Whether the driver enabled it. */
  enabled = false;
  /** Where the device goes on in the avail ring, while it is not served. */
  base = 0;

  constructor(maxSize: number) {
    this.maxSize = checkRingSize('queueSize', maxSize);
    this.size = maxSize;
    this.kick = EventFd.create();
    try {
      this.call = EventFd.create();
    } catch (error) {
      this.kick.close();
      throw error;
    }
  }

  /** Back to the beginning; the eventfds stay. What was signalled before is of no use to anybody. */
  reset(): void {
    this.size = this.maxSize;
    this.addresses = { desc: 0n, avail: 0n, used: 0n };
    this.enabled = false;
    this.base = 0;
    this.kick.read();
    this.call.read();
  }

  close(): void {
    this.kick.close();
    this.call.close();
  }
}

/** Queues of these sizes at most; where one cannot be had, none stays open. Throws `EMFILE`. */
export function openQueues(sizes: readonly number[]): DeviceQueue[] {
  const queues: DeviceQueue[] = [];
  try {
    for (const size of sizes) queues.push(new DeviceQueue(size));
    return queues;
  } catch (error) {
    for (const queue of queues) queue.close();
    throw error;
  }
}
