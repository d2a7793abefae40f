/** What a card is made with, and what it tells. */
import type { GuestMemory } from '../host/guest-memory.js';
import type { Tap } from '../host/tap.js';
import type { VhostBackend } from '../vhost/backend.js';

export interface VirtioNetDeviceOptions {
  memory: GuestMemory;
  /** Who moves the packets; stays the caller's, to be closed after the card. */
  backend: VhostBackend;
  /** The backend's TAP queues, one for each pair, where it has them: for offloads, filters and pairs. */
  taps?: readonly Tap[];
  /** The card's address, `'02:00:00:00:00:01'`. */
  mac: string;
  /** Offered to the guest, in bytes, 68 to 65535. Default: not offered. */
  mtu?: number;
  /** Megabits per second, to 2^31 - 1, and whether full duplex. Default: not known. */
  speed?: number;
  fullDuplex?: boolean;
  /** Features that may be offered. Default: all that the card, the backend and the TAP have. */
  features?: bigint;
  /** Descriptors of each ring at most, a power of two. Default: 256. */
  queueSize?: number;
}

export interface VirtioNetDeviceEvents {
  /** The configuration or NEEDS_RESET changed: the transport interrupts the driver. */
  config: [];
  /** The card is as it was at first, whoever asked for that; a transport forgets what is its own. */
  reset: [];
  /** The backend failed: the card needs a reset. */
  failed: [error: Error];
}
