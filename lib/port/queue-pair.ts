/** One queue pair of a port: its memory, its rings, its eventfds. */
import { EventFd } from '../host/event-fd.js';
import { headerLengthOf } from '../net/header.js';
import { hasBit, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_RING_F_EVENT_IDX } from '../uapi/virtio-net.js';
import type { QueuePairConfig, VringConfig } from '../vhost/backend.js';
import { VringDriver } from '../vring/driver.js';
import type { VringAddresses } from '../vring/layout.js';
import type { PortCounters } from './counters.js';
import { createPortMemory, type PortMemory } from './port-memory.js';
import { Receiver } from './receiver.js';
import { Transmitter } from './transmitter.js';

export interface QueuePairOptions {
  queueSize: number;
  bufferSize: number;
  /** The acknowledged features. */
  features: bigint;
  counters: PortCounters;
}

/** The eventfds of one ring. */
interface Signals {
  kick: EventFd;
  call: EventFd;
  err: EventFd;
}

export class QueuePair {
  readonly receiver: Receiver;
  readonly transmitter: Transmitter;
  /** What the backend is told. */
  readonly config: QueuePairConfig;
  readonly memory: PortMemory['memory'];
  readonly #eventFds: EventFd[] = [];

  /** Throws `EMFILE`, `ENOMEM`; then nothing stays open. */
  constructor(options: QueuePairOptions) {
    const { queueSize, bufferSize, features, counters } = options;
    const layout = createPortMemory(queueSize, bufferSize);
    this.memory = layout.memory;
    try {
      const receive = this.#signals();
      const transmit = this.#signals();
      const ring = (addresses: VringAddresses) =>
        new VringDriver(layout.memory, {
          size: queueSize,
          addresses,
          eventIdx: hasBit(features, VIRTIO_RING_F_EVENT_IDX),
        });
      const common = { counters, headerLength: headerLengthOf(features) };
      this.receiver = new Receiver({
        ...common,
        ring: ring(layout.receive),
        kick: receive.kick,
        area: layout.receiveArea,
        bufferSize,
        mergeable: hasBit(features, VIRTIO_NET_F_MRG_RXBUF),
      });
      this.transmitter = new Transmitter({
        ...common,
        ring: ring(layout.transmit),
        kick: transmit.kick,
        area: layout.transmitArea,
      });
      const vring = (addresses: VringAddresses, signals: Signals): VringConfig => ({
        size: queueSize,
        addresses,
        base: 0,
        ...signals,
      });
      this.config = {
        receive: vring(layout.receive, receive),
        transmit: vring(layout.transmit, transmit),
      };
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The backend must have let go of the memory. Throws `ERR_MEMORY_IN_USE`. */
  close(): void {
    for (const eventFd of this.#eventFds) eventFd.close();
    this.memory.close();
  }

  /** Ends every subscription, so that nothing is called any more. */
  silence(): void {
    for (const eventFd of this.#eventFds) eventFd.offSignal();
  }

  #signals(): Signals {
    const make = () => {
      const eventFd = EventFd.create();
      this.#eventFds.push(eventFd);
      return eventFd;
    };
    return { kick: make(), call: make(), err: make() };
  }
}
