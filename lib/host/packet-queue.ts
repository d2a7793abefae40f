/** PacketQueue: what vhost-net moves packets to and from. */
import type { Descriptor } from './descriptor.js';
import type { NetInterface } from './net-interface.js';

/** A descriptor that `VHOST_NET_SET_BACKEND` takes: a TAP or TUN queue, a macvtap, a packet socket. */
export interface PacketQueue extends Descriptor {
  /** What it is, for messages: `'TAP'`. */
  readonly kind: string;
  /** Whether it carries Ethernet frames (2) or IP packets (3). */
  readonly layer: 2 | 3;
  /** The interface, as the host sees it. */
  readonly interface: NetInterface;
  /** Bytes of the virtio-net header before each frame; 0 for none. */
  readonly headerLength: number;
  /** How to give it a header of `bytes`, 0 for none: a hint for people. */
  headerCure(bytes: number): string;
  /** Keeps vhost from sending several frames at once on a way past the queue's own parsing. */
  avoidBatches(): void;
}
