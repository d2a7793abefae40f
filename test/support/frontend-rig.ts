/** Rings in shared memory and a front end for them, against a back end that does as it is told. */
import {
  type BackendConfig,
  bit,
  EventFd,
  GuestMemory,
  placeVring,
  type QueuePairConfig,
  VhostUserFrontend,
  type VhostUserFrontendOptions,
  VIRTIO_F_VERSION_1,
  type VringConfig,
} from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import { FakeBackEnd, type FakeBackEndOptions } from './fake-back-end.js';
import { kept, socketPath } from './sockets.js';

/** Descriptors of each ring. */
export const SIZE = 16;
export const FEATURES = bit(VIRTIO_F_VERSION_1);
const PAGE = 0x1000;

export interface FrontendRig {
  fake: FakeBackEnd;
  frontend: VhostUserFrontend;
  memory: GuestMemory;
  /** The rings of each pair. */
  pairs: QueuePairConfig[];
  config: BackendConfig;
  /** Says of a ring, as its device would, that so many chains were given back. */
  giveBack(ring: number, used: number): void;
}

/** The rings of `count` pairs, each in a page of its own. */
function ringsOf(count: number): QueuePairConfig[] {
  const ring = (index: number): VringConfig => ({
    size: SIZE,
    addresses: placeVring(BigInt(index * PAGE), SIZE),
    base: 0,
    kick: kept(EventFd.create()),
    call: kept(EventFd.create()),
  });
  return Array.from({ length: count }, (_, i) => ({
    receive: ring(2 * i),
    transmit: ring(2 * i + 1),
  }));
}

/** A front end that is connected, with rings that are not started. */
export async function frontendRig(
  options: Partial<VhostUserFrontendOptions> = {},
  fakeOptions: FakeBackEndOptions = {},
): Promise<FrontendRig> {
  const path = options.path ?? socketPath();
  const fake = FakeBackEnd.listen(path, fakeOptions);
  const { queuePairs = 1 } = options;
  const frontend = await VhostUserFrontend.open({ path, reconnect: 5, ...options });
  const memory = kept(GuestMemory.create([{ guestAddress: 0n, size: 0x10_0000 }]));
  cleanup(() => frontend.close());
  const pairs = ringsOf(queuePairs);
  return {
    fake,
    frontend,
    memory,
    pairs,
    config: { memory, features: FEATURES, pairs },
    giveBack(ring, used) {
      const { addresses } = pairs[ring >> 1]?.[ring % 2 === 0 ? 'receive' : 'transmit'] ?? {};
      const { region, offset } = memory.translate(addresses?.used ?? 0n, 4);
      new Uint16Array(region.buffer, offset + 2, 1)[0] = used;
    },
  };
}
