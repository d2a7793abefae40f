/** One queue pair of a port: its rings, its eventfds, its counters. */
import { EventFd } from '../host/event-fd.js';
import type { GuestMemory } from '../host/guest-memory.js';
import { headerLengthOf } from '../net/header.js';
import { hasBit, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_RING_F_EVENT_IDX } from '../uapi/virtio-net.js';
import type { QueuePairConfig, QueuePairState, VringConfig } from '../vhost/backend.js';
import { VringDriver } from '../vring/driver.js';
import type { VringDriverState } from '../vring/driver-options.js';
import type { VringAddresses } from '../vring/layout.js';
import { noCounters } from './counters.js';
import type { PairLayout } from './port-memory.js';
import { Receiver } from './receiver.js';
import { Transmitter } from './transmitter.js';

export interface QueuePairOptions {
  /** From 0. */
  index: number;
  memory: GuestMemory;
  layout: PairLayout;
  queueSize: number;
  bufferSize: number;
  /** The acknowledged features. */
  features: bigint;
  /** Where another port's pair stopped. Default: begin with empty rings. */
  state?: PairState | undefined;
}

/** Where a ring stopped. */
export interface RingState extends VringDriverState {
  /** Where its device goes on, 0 to 65535. */
  base: number;
}

/** Where a pair stopped. */
export interface PairState {
  receive: RingState;
  transmit: RingState;
}

/** The eventfds of one ring. */
interface Signals {
  kick: EventFd;
  call: EventFd;
  err: EventFd;
}

export class QueuePair {
  readonly counters = noCounters();
  readonly receiver: Receiver;
  readonly transmitter: Transmitter;
  /** Bytes of each receive buffer. */
  readonly bufferSize: number;
  /** What the backend is told; its `base` is where the rings go on. */
  readonly config: QueuePairConfig;
  readonly #eventFds: EventFd[] = [];

  /** Throws `EMFILE`, `ERR_OUT_OF_RANGE` for a state that cannot be; then nothing stays open. */
  constructor(options: QueuePairOptions) {
    const { memory, layout, queueSize: size, bufferSize, features, state } = options;
    const { counters } = this;
    this.bufferSize = bufferSize;
    try {
      const receive = this.#signals();
      const transmit = this.#signals();
      const ring = (addresses: VringAddresses, stopped: RingState | undefined) =>
        new VringDriver(memory, {
          size,
          addresses,
          eventIdx: hasBit(features, VIRTIO_RING_F_EVENT_IDX),
          ...(stopped ? { state: stopped } : {}),
        });
      const common = { counters, headerLength: headerLengthOf(features) };
      this.receiver = new Receiver({
        ...common,
        pair: options.index,
        ring: ring(layout.receive, state?.receive),
        kick: receive.kick,
        area: layout.receiveArea,
        bufferSize,
        mergeable: hasBit(features, VIRTIO_NET_F_MRG_RXBUF),
      });
      this.transmitter = new Transmitter({
        ...common,
        ring: ring(layout.transmit, state?.transmit),
        kick: transmit.kick,
        area: layout.transmitArea,
        inFlight: state?.transmit.chains,
      });
      const vring = (
        addresses: VringAddresses,
        signals: Signals,
        half: { resubmit(): void },
        base = 0,
      ): VringConfig => ({
        size,
        addresses,
        base,
        ...signals,
        onDeviceLost: () => half.resubmit(),
      });
      this.config = {
        receive: vring(layout.receive, receive, this.receiver, state?.receive.base),
        transmit: vring(layout.transmit, transmit, this.transmitter, state?.transmit.base),
      };
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The state of rings that were stopped at these positions, from which they go on. */
  stoppedAt({ receive, transmit }: QueuePairState): PairState {
    this.config.receive.base = receive;
    this.config.transmit.base = transmit;
    return {
      receive: { base: receive, ...this.receiver.state },
      transmit: { base: transmit, ...this.transmitter.state },
    };
  }

  close(): void {
    for (const eventFd of this.#eventFds) eventFd.close();
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
