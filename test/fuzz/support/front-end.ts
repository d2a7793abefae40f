/** A front-end of which nothing is to be relied on: its memory, its guest's rings, its descriptors, its requests. */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import {
  bit,
  type Descriptor,
  EventFd,
  GuestMemory,
  type MemoryRegion,
  placeVring,
  ReceivedDescriptor,
  UnixSocket,
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  type VhostUserInflight,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from '../../../lib/index.js';
import { type Fd, native } from '../../../lib/native.js';
import { GuestRing } from './guest-ring.js';
import type { Random } from './random.js';

export const MEMORY = 0x2_0000;
const USER = 0x5000_0000n;
/** Where the second region begins, for the guest and above the first for the front-end. */
const SECOND = 1n << 32n;
const SIZES = [1, 2, 16, 256] as const;
const RINGS = [0x0n, 0x4000n, 0x8000n, 0xc000n] as const;
const O_PATH = 0o1000_0000;

function opened(path: string, flags: string | number): Descriptor {
  const fd = openSync(path, flags);
  try {
    return ReceivedDescriptor.fromFd(fd);
  } finally {
    closeSync(fd);
  }
}

/** Whether nobody has the other end of a socket any more. */
function isOver(socket: UnixSocket, received: () => void): boolean {
  const buffer = new Uint8Array(4096);
  try {
    for (;;) {
      const message = socket.receive(buffer);
      if (message?.size === 0) return true;
      if (!message) return false;
      received();
    }
  } catch (error) {
    if ((error as { code?: string }).code !== 'ECONNRESET') throw error;
    return true;
  }
}

/** What is of use to nobody. */
const OTHERS: readonly Descriptor[] = [
  opened('/dev/null', 'r+'),
  opened('/proc/self/status', 'r'),
  opened('/tmp', 'r'),
  opened('/proc/self/exe', O_PATH),
  ...UnixSocket.pair('seqpacket'),
];

/** What a request is of. */
export type Part = readonly [payload: unknown, descriptors?: readonly Descriptor[]];

export class FrontEnd {
  /** Entries of each ring. */
  readonly size: number;
  readonly rings = RINGS.length;
  readonly memory = GuestMemory.create([{ guestAddress: 0n, size: MEMORY }]);
  /** The memory's own file, sealed. */
  readonly shared: Descriptor;
  /** Not sealed: it may be cut short. */
  readonly file: Descriptor;
  readonly event = EventFd.create();
  /** The other ends of the sockets that it gave, over which the back end asks. */
  readonly channels: UnixSocket[] = [];
  /** The features of the protocol that it chose last. */
  agreed = 0n;
  /** What it was given to keep of what is in flight. */
  area: readonly [VhostUserInflight, Descriptor] | undefined;
  readonly #given: UnixSocket[] = [];
  readonly #random: Random;
  readonly #offered: bigint;
  readonly #guest: readonly GuestRing[];
  /** How often, in a thousand, the guest writes something else than what it should. */
  readonly #wild: number;

  /** `offered`: the features of the protocol that it may choose of. */
  constructor(random: Random, offered: bigint) {
    this.#random = random;
    this.#offered = offered;
    this.size = random.pick(SIZES);
    const region = this.memory.regions[0] as MemoryRegion;
    this.shared = ReceivedDescriptor.fromFd(region.fd);
    this.file = new ReceivedDescriptor(native.memfdCreate('front-end', 0) as Fd);
    this.mend();
    this.#wild = random.pick([0, 2, 20, 200]);
    this.#guest = RINGS.map(
      (at, i) => new GuestRing(region.buffer, Number(at), this.size, i % 2 === 0),
    );
  }

  /** One of any kind. */
  get any(): Descriptor {
    const { shared, file, event } = this;
    return this.#random.pick([shared, file, event, ...OTHERS]);
  }

  close(): void {
    this.gave();
    this.memory.close();
    const own = [this.shared, this.file, this.event, ...this.channels];
    for (const descriptor of own) descriptor.close();
    this.area?.[1].close();
  }

  region(second = false) {
    const above = second ? SECOND : 0n;
    const size = BigInt(MEMORY);
    return { guestAddress: above, size, userAddress: USER + above, mmapOffset: 0n };
  }

  addresses(index: number) {
    const { desc, avail, used } = placeVring(USER + (RINGS[index] as bigint), this.size);
    const log = BigInt(this.#random.chance(900) ? this.#random.below(MEMORY) : this.#random.u32());
    return { index, flags: this.#random.below(2), desc, avail, used, log };
  }

  features(): bigint {
    const maybe = (number: number, often: number) =>
      this.#random.chance(often) ? bit(number) : 0n;
    return (
      bit(VIRTIO_F_VERSION_1) |
      bit(VHOST_USER_F_PROTOCOL_FEATURES) |
      maybe(VIRTIO_NET_F_MRG_RXBUF, 500) |
      maybe(VIRTIO_RING_F_INDIRECT_DESC, 500) |
      maybe(VIRTIO_RING_F_EVENT_IDX, 500) |
      maybe(VHOST_F_LOG_ALL, 300)
    );
  }

  /** Most of what is offered. Without an acknowledgement whatever is refused ends the connection. */
  protocolFeatures(): bigint {
    let chosen = this.#offered;
    for (let number = 0; number < 22; number++) {
      if (this.#random.chance(30)) chosen &= ~bit(number);
    }
    if (this.#random.chance(970)) chosen |= bit(VHOST_USER_PROTOCOL_F_REPLY_ACK);
    const both = bit(VHOST_USER_PROTOCOL_F_REPLY_ACK) | bit(VHOST_USER_PROTOCOL_F_BACKEND_REQ);
    const inBand = bit(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS);
    this.agreed = (chosen & both) === both ? chosen : chosen & ~inBand;
    return this.agreed;
  }

  /** A socket over which the back end is to ask. */
  channel(): UnixSocket {
    const [near, far] = UnixSocket.pair('stream');
    this.channels.push(far);
    this.#given.push(near);
    return near;
  }

  /** Lets go of the ends of sockets that it gave: who has one is the back end. */
  gave(): void {
    for (const near of this.#given.splice(0)) near.close();
  }

  /** Whether the back end has let go of every socket that it was given. `asked` is called for what it asked. */
  isAlone(asked: () => void): boolean {
    this.gave();
    return this.channels.every((channel) => channel.closed || isOver(channel, asked));
  }

  /** Takes what it is given to keep of what is in flight. */
  keep(told: VhostUserInflight, descriptor: Descriptor): void {
    this.area?.[1].close();
    this.area = [told, descriptor];
  }

  /** The guest's driver begins anew. */
  renew(ring: number): void {
    this.#guest[ring]?.renew();
  }

  /** What a guest does: descriptors, heads and positions of its choice. */
  scribble(): void {
    for (const ring of this.#guest) {
      if (this.#random.chance(600)) ring.scribble(this.#random, this.#wild, MEMORY);
    }
  }

  /** Writes something to what is in flight, or to a log. */
  scribbleFile(): void {
    const random = this.#random;
    const { fd } = this.area && random.chance(500) ? this.area[1] : this.file;
    const bytes = Uint8Array.from({ length: 16 }, () => random.pick([0, 1, 1, random.u32()]));
    writeSync(fd, bytes, 0, bytes.length, 16 * random.below(64));
  }

  /** Fills the counter of its eventfd: whoever signals it has to go on. */
  fill(): void {
    const most = new Uint8Array(BigUint64Array.of(0xffff_ffff_ffff_fffen).buffer);
    this.event.read();
    writeSync(this.event.fd, most);
  }

  /** Answers what the back end asks, or says something else. */
  answer(): void {
    const random = this.#random;
    const channel = this.channels.at(-1);
    if (channel?.closed !== false) return;
    const bytes = Uint8Array.from({ length: 20 }, () => random.below(256));
    const view = new DataView(bytes.buffer);
    if (random.chance(800))
      [4, 5, 8].forEach((value, i) => void view.setUint32(4 * i, value, true));
    try {
      channel.send(bytes, random.chance(300) ? [this.any] : []);
      if (random.chance(300)) channel.close();
    } catch (error) {
      // The back end has another by now.
      if (!['EPIPE', 'ECONNRESET'].includes((error as { code: string }).code)) throw error;
    }
  }

  cut(): void {
    ftruncateSync(this.file.fd, this.#random.pick([0, 0, 4096, MEMORY / 2]));
  }

  mend(): void {
    ftruncateSync(this.file.fd, MEMORY);
  }
}
