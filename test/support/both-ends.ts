/** A front end of ours on a back end of ours, with rings between them whose driver is the test. */
import {
  bit,
  type EventFd,
  GuestMemory,
  placeVring,
  type RegionOptions,
  VhostUserFrontend,
  type VhostUserFrontendOptions,
  VIRTIO_F_VERSION_1,
  VringDriver,
} from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import { collecting } from './front-end.js';
import { RingEnd, words } from './rings.js';
import { kept, socketPath } from './sockets.js';

/** Descriptors of each ring. */
const SIZE = 16;
const HEADER = 12;
const BUFFERS_AT = 0x8000n;
const BUFFER = 2048;
const REGIONS: RegionOptions[] = [{ guestAddress: 0n, size: 0x4_0000 }];

export interface Ends {
  frontend: VhostUserFrontend;
  memory: GuestMemory;
  receive: RingEnd;
  transmit: RingEnd;
  /** For the front end's start. */
  config: Parameters<VhostUserFrontend['start']>[0];
  /** Offers a frame to be sent, and kicks. */
  send(frame: Uint8Array): void;
  /** Offers so many buffers to receive into. */
  post(count: number): void;
}

/** A front end on whatever listens on `path`, with rings that are not started. */
export async function frontendOn(
  path: string,
  options: Partial<VhostUserFrontendOptions> = {},
  regions = REGIONS,
): Promise<Ends> {
  const memory = kept(GuestMemory.create(regions));
  const [receive, transmit] = [0x0n, 0x2000n].map((at) => {
    const ring = new VringDriver(memory, { size: SIZE, addresses: placeVring(at, SIZE) });
    const end = new RingEnd(ring, memory);
    for (const event of [end.kick, end.call, end.err]) kept<EventFd>(event);
    return end;
  }) as [RingEnd, RingEnd];
  const frontend = await VhostUserFrontend.open({ path, reconnect: 5, ...options });
  cleanup(() => frontend.close());
  let next = 0;
  const place = () => BUFFERS_AT + BigInt((next++ % 32) * BUFFER);
  return {
    frontend,
    memory,
    receive,
    transmit,
    get config() {
      const pair = { receive: receive.config(0), transmit: transmit.config(0) };
      return { memory, features: bit(VIRTIO_F_VERSION_1), pairs: [pair] };
    },
    send(frame) {
      const at = place();
      memory.write(at, new Uint8Array(HEADER));
      memory.write(at + BigInt(HEADER), frame);
      transmit.ring.add(words([[at, HEADER + frame.length]]), 1, 0);
      transmit.publish();
    },
    post(count) {
      for (let i = 0; i < count; i++) receive.ring.add(words([[place(), BUFFER]]), 0, 1);
      receive.publish();
    },
  };
}

/** Both ends, connected. `asked` are the front end's requests, as they were done. */
export async function bothEnds(
  backendOptions: Parameters<typeof collecting>[0] = {},
  options: Partial<VhostUserFrontendOptions> = {},
  regions = REGIONS,
) {
  const path = socketPath();
  const asked: string[] = [];
  const after = ({ request }: { request: string }) =>
    void asked.push(request.replace('VHOST_USER_', ''));
  const served = collecting({ path, after, ...backendOptions });
  return { path, asked, ...served, ...(await frontendOn(path, options, regions)) };
}
