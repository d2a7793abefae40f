/** The in-process back end on rings of our own, and a socket pair in the place of a TAP's queue: it needs no rights. */
import {
  GuestMemory,
  InProcessBackend,
  type PacketQueue,
  placeVring,
  type RegionOptions,
  UnixSocket,
  VringDriver,
} from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import { RingEnd } from './rings.js';
import { kept } from './sockets.js';

/** Descriptors of each ring. */
const SIZE = 16;
/** Bytes of a header. */
export const HEADER = 12;

/** Its rings lie at 0 and 0x2000. `far` is the other side of the queue: a socket, which keeps frames apart. */
export function inProcessRig(regions: readonly RegionOptions[]) {
  const memory = kept(GuestMemory.create(regions));
  const [receive, transmit] = [0x0n, 0x2000n].map((at) => {
    const ring = new VringDriver(memory, { size: SIZE, addresses: placeVring(at, SIZE) });
    const end = new RingEnd(ring, memory);
    for (const event of [end.kick, end.call, end.err]) kept(event);
    return end;
  }) as [RingEnd, RingEnd];
  const [near, far] = UnixSocket.pair('seqpacket').map(kept) as [UnixSocket, UnixSocket];
  const queue = {
    ...{ fd: near.fd, kind: 'socket', layer: 2, headerLength: HEADER },
    interface: { name: 'none' },
  };
  const backend = InProcessBackend.open([queue as unknown as PacketQueue]);
  cleanup(() => backend.close());
  return {
    ...{ memory, receive, transmit, far, backend },
    start(features: bigint): Promise<void> {
      const pairs = [{ receive: receive.config(0), transmit: transmit.config(0) }];
      return backend.start({ memory, features, pairs });
    },
  };
}
