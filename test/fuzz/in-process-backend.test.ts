/**
 * A driver that writes what it likes to its rings, and frames that come meanwhile, against rings served in process,
 * which must outlive all of it: what is given back is what was taken, and what is written to is in the log.
 */
import {
  bit,
  DirtyLog,
  EventFd,
  GuestMemory,
  hasBit,
  InProcessBackend,
  type PacketQueue,
  placeVring,
  type QueuePairState,
  UnixSocket,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
  type VringConfig,
} from '../../lib/index.js';
import { held, holdsNoMore } from './support/held.js';
import type { Random } from './support/random.js';
import { fuzz, type Sights, same, see, type Trace } from './support/run.js';

const STEPS = 150;
const MEMORY = 0x2_0000;
const PAGE = 4096;
/** The rings, where no buffer that is drawn or comes about leads: what is read into them is the driver's own ruin. */
const RINGS_AT = 0xf_5000_0000n;
const RINGS = 0x8000;
const HEADER = 12;
const SIZES = [1, 2, 16, 256] as const;
const [NEXT, WRITE, INDIRECT] = [1, 2, 4] as const;

const turn = () => new Promise((resolve) => setImmediate(resolve));
const offsetOf = (address: bigint) => Number(address - RINGS_AT);

/** A ring as its driver has it, and where its device must be. */
class Ring {
  readonly size: number;
  readonly addresses: VringConfig['addresses'];
  readonly events = { kick: EventFd.create(), call: EventFd.create(), err: EventFd.create() };
  broken = false;
  readonly #words: Uint32Array;
  readonly #halves: Uint16Array;
  /** Of descriptors that are as they should be. */
  readonly #flags: number;
  /** Where the used ring and the device's position were when it started. */
  #from = { used: 0, base: 0 };

  constructor(memory: GuestMemory, at: number, size: number, flags: number) {
    const { buffer } = memory.regions[1] as { buffer: ArrayBuffer };
    this.size = size;
    this.addresses = placeVring(RINGS_AT + BigInt(at), size);
    this.#words = new Uint32Array(buffer);
    this.#halves = new Uint16Array(buffer);
    this.#flags = flags;
  }

  startAt(base: number): VringConfig {
    this.#from = { used: this.#used, base };
    const { size, addresses, events } = this;
    return { size, addresses, base, ...events };
  }

  /** Where the device is: it has given back all that it took. */
  get position(): number {
    return (this.#from.base + this.#used - this.#from.used) & 0xffff;
  }

  /** Descriptors, heads and positions of the driver's choice. */
  scribble(random: Random): void {
    const desc = offsetOf(this.addresses.desc) / 4;
    for (let left = random.between(1, 6); left > 0; left--) {
      const word = desc + 4 * random.below(this.size);
      this.#words[word] = random.chance(900) ? random.below(MEMORY) : random.edge(MEMORY);
      this.#words[word + 1] = random.chance(980) ? 0 : random.u32();
      this.#words[word + 2] = random.chance(850) ? random.between(HEADER, 2000) : random.edge(1500);
      const flags = random.chance(800)
        ? this.#flags | random.pick([0, 0, NEXT])
        : random.pick([0, NEXT, WRITE, NEXT | WRITE, INDIRECT]);
      this.#words[word + 3] = (random.below(this.size) << 16) | flags;
    }
    const avail = offsetOf(this.addresses.avail) / 2;
    this.#halves[avail] = random.below(2);
    this.#halves[avail + 2 + random.below(this.size)] = random.chance(990)
      ? random.below(this.size)
      : random.u32();
    this.#halves[avail + 2 + this.size] = random.u32();
    // What is beyond the ring's size breaks it, so most of the time it offers what it may.
    this.#halves[avail + 1] = random.chance(980)
      ? this.position + random.below(Math.min(this.size, 4) + 1)
      : random.u32();
  }

  /** Fails where something was given back that the driver never had offered, or could not have. */
  check(least: number, most: number): void {
    const used = offsetOf(this.addresses.used) / 4;
    const count = Math.min(this.size, (this.#used - this.#from.used) & 0xffff);
    for (let i = 1; i <= count; i++) {
      const at = used + 1 + 2 * ((this.#used - i) & (this.size - 1));
      same('a head', (this.#words[at] as number) < this.size, true);
      const written = this.#words[at + 1] as number;
      same(`bytes written, ${written},`, written >= least && written <= most, true);
    }
  }

  close(): void {
    for (const event of Object.values(this.events)) event.close();
  }

  get #used(): number {
    return this.#halves[offsetOf(this.addresses.used) / 2 + 1] as number;
  }
}

class Case {
  readonly #random: Random;
  readonly #sights: Sights;
  readonly #memory = GuestMemory.create([
    { guestAddress: 0n, size: MEMORY },
    { guestAddress: RINGS_AT, size: RINGS },
  ]);
  readonly #bytes = this.#memory.regions.map(({ buffer }) => Buffer.from(buffer));
  readonly #before = this.#bytes.map(({ length }) => Buffer.alloc(length));
  readonly #log = DirtyLog.create(this.#memory);
  readonly #logs: boolean;
  readonly #features: bigint;
  readonly #rings: readonly [Ring, Ring];
  /** In the place of a TAP's queue and its other side: it keeps frames apart, and needs no rights. */
  readonly #sockets = UnixSocket.pair('seqpacket');
  readonly #backend: InProcessBackend;
  readonly #buffer = new Uint8Array(MEMORY);
  #sent = 0;
  #dropped = 0;

  constructor(random: Random, sights: Sights) {
    this.#random = random;
    this.#sights = sights;
    const maybe = (number: number) => (random.chance(500) ? bit(number) : 0n);
    this.#features =
      bit(VIRTIO_F_VERSION_1) |
      maybe(VIRTIO_NET_F_MRG_RXBUF) |
      maybe(VIRTIO_RING_F_EVENT_IDX) |
      maybe(VIRTIO_RING_F_INDIRECT_DESC);
    this.#logs = random.chance(500);
    const size = random.pick(SIZES);
    this.#rings = [new Ring(this.#memory, 0, size, WRITE), new Ring(this.#memory, 0x4000, size, 0)];
    const [{ fd }] = this.#sockets;
    const queue = {
      fd,
      kind: 'socket',
      layer: 2,
      interface: { name: 'none' },
      headerLength: HEADER,
    };
    this.#backend = InProcessBackend.open([queue as unknown as PacketQueue]);
  }

  async live(trace: Trace): Promise<number> {
    try {
      if (this.#logs) await this.#backend.setDirtyLog(this.#log);
      await this.#start({ receive: 0, transmit: 0 });
      for (let step = 0; step < STEPS; step++) await this.#step(step, trace);
      await this.#backend.stop();
      this.#drain();
      const [counters] = this.#backend.counters;
      same('frames that arrived', this.#sent, counters?.sent);
      if ((counters?.receiveDropped ?? 0) > 0) see(this.#sights, 'dropped on the way in');
      see(this.#sights, 'received', counters?.received);
    } finally {
      await this.#backend.close();
      for (const ring of this.#rings) ring.close();
      for (const socket of this.#sockets) socket.close();
      this.#log.close();
      this.#memory.close();
    }
    return STEPS;
  }

  async #step(step: number, trace: Trace): Promise<void> {
    const random = this.#random;
    const [, far] = this.#sockets;
    for (const ring of this.#rings) if (random.chance(700)) ring.scribble(random);
    for (let left = random.below(3); left > 0; left--) {
      const length = random.chance(900) ? random.between(HEADER, 3000) : random.between(1, 60_000);
      far.send(this.#buffer.subarray(0, length));
    }
    this.#log.clear();
    this.#bytes.forEach((bytes, i) => void bytes.copy(this.#before[i] as Buffer));
    for (const ring of this.#rings) if (random.chance(800)) ring.events.kick.signal();
    for (let turns = random.between(1, 3); turns > 0; turns--) await turn();
    if (random.chance(50)) await this.#goOn();
    this.#look();
    if (this.#logs) this.#checkLog();
    trace?.(`${step}: at ${this.#rings.map(({ position }) => position)}, ${this.#sent} arrived`);
  }

  /** Stops all, or one ring, and goes on where it was. */
  async #goOn(): Promise<void> {
    const backend = this.#backend;
    const which = this.#random.below(3);
    if (which === 2) {
      const [state] = await backend.stop();
      same('where the ring to receive by stopped', state?.receive, this.#rings[0].position);
      same('where the ring to send by stopped', state?.transmit, this.#rings[1].position);
      await this.#start(state as QueuePairState);
      see(this.#sights, 'stopped');
      return;
    }
    const ring = this.#rings[which] as Ring;
    const base = await backend.stopRing(which);
    same('where a ring stopped', base, ring.position);
    await backend.startRing(which, ring.startAt(base));
    see(this.#sights, 'stopped one ring');
  }

  #start({ receive, transmit }: QueuePairState): Promise<void> {
    const [one, other] = this.#rings;
    return this.#backend.start({
      memory: this.#memory,
      features: this.#features,
      pairs: [{ receive: one.startAt(receive), transmit: other.startAt(transmit) }],
    });
  }

  #look(): void {
    this.#drain();
    for (const [i, ring] of this.#rings.entries()) {
      // A chain of no bytes may lie between those that a merged frame takes.
      const merged = hasBit(this.#features, VIRTIO_NET_F_MRG_RXBUF);
      ring.check(i === 0 && !merged ? 1 : 0, i === 0 ? MEMORY : 0);
      const broken = ring.events.err.read() > 0;
      if (broken) see(this.#sights, `a broken ring ${i}`);
      if (ring.events.call.read() > 0) see(this.#sights, ring.broken ? 'mended' : 'called');
      ring.broken = broken;
    }
  }

  /** Takes what was sent. */
  #drain(): void {
    const [, far] = this.#sockets;
    while ((far.receive(this.#buffer)?.size ?? 0) > 0) {
      this.#sent++;
      see(this.#sights, 'sent');
    }
  }

  /**
   * Every page that is not as the driver left it must be in the log. But buffers that stay in the ring: a frame may
   * have been read into them that was too long, and its driver is told nothing of what is in them.
   */
  #checkLog(): void {
    const [counters] = this.#backend.counters;
    const dropped = counters?.receiveDropped ?? 0;
    const sure = !hasBit(this.#features, VIRTIO_NET_F_MRG_RXBUF) && dropped === this.#dropped;
    this.#dropped = dropped;
    const logged = new Set<number>();
    for (const { guestAddress, size } of this.#log.harvest()) {
      for (let at = 0; at < size; at += PAGE) logged.add(Number(guestAddress) + at);
    }
    for (const [i, { guestAddress, size }] of this.#memory.regions.entries()) {
      const before = this.#before[i] as Buffer;
      for (let at = i === 0 && !sure ? size : 0; at < size; at += PAGE) {
        if (this.#bytes[i]?.compare(before, at, at + PAGE, at, at + PAGE) === 0) continue;
        const page = Number(guestAddress) + at;
        same(`page 0x${page.toString(16)} in the log`, logged.has(page), true);
        see(this.#sights, i === 0 ? 'logged a buffer' : 'logged a ring');
      }
    }
  }
}

fuzz({
  name: 'in-process-backend',
  states: 60_000,
  play: async (random, sights, trace) => {
    const before = held();
    const states = await new Case(random, sights).live(trace);
    await holdsNoMore(before);
    return states;
  },
  reaches: [
    ...['sent', 'received', 'dropped on the way in', 'called', 'mended'],
    ...[
      'a broken ring 0',
      'a broken ring 1',
      'stopped',
      'stopped one ring',
      'logged a buffer',
      'logged a ring',
    ],
  ],
});
