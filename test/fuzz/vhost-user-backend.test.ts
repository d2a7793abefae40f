/**
 * Requests that mean something and requests that do not, in any order, and a guest that writes what it likes to the
 * rings meanwhile, against a back end that must outlive all of it.
 */
import { readdirSync } from 'node:fs';
import { ReceivedDescriptor } from '../../lib/host/unix-socket.js';
import {
  EventFd,
  GuestMemory,
  placeVring,
  type VhostUserConnection,
  type VhostUserMessage,
  type VhostUserRequestName,
} from '../../lib/index.js';
import { LONGEST_FRAME, SHORTEST_FRAME } from '../../lib/net/frame.js';
import { limitsOf } from '../../lib/vhost-user/backend-options.js';
import { serveRequests } from '../../lib/vhost-user/backend-session.js';
import { BackendState } from '../../lib/vhost-user/backend-state.js';
import type { Random } from './support/random.js';
import { fuzz, type Sights, same, see, type Trace } from './support/run.js';
import { DRAWN } from './support/vhost-user.js';

const STEPS = 150;
const MEMORY = 0x2_0000;
const USER = 0x5000_0000n;
const SIZES = [1, 2, 16, 256] as const;
const RINGS = [0x0n, 0x4000n, 0x8000n, 0xc000n] as const;

/** The cases of `draw` that bring a device up, each ring's several times: which ring it is for is drawn. */
const BRING_UP = [0, 1, 2, ...Array.from({ length: 8 }, () => [3, 4, 6, 7, 8]).flat()] as const;
const CASES = 14;
const openFds = () => readdirSync('/proc/self/fd').length;

type Drawn = readonly [name: VhostUserRequestName, payload: unknown, fds?: readonly number[]];

/** A whole front-end's worth of descriptors, and a step of it. */
class Front {
  readonly memory = GuestMemory.create([{ guestAddress: 0n, size: MEMORY }]);
  readonly event = EventFd.create();
  readonly words = new Uint32Array(this.memory.regions[0]?.buffer as ArrayBuffer);
  readonly halves = new Uint16Array(this.words.buffer);
  #size: number;

  constructor(random: Random) {
    this.#size = random.pick(SIZES);
  }

  get fd(): number {
    return this.memory.regions[0]?.fd as number;
  }

  close(): void {
    this.memory.close();
    this.event.close();
  }

  /** A request that is sound, as far as one alone can tell. */
  draw(random: Random, which = random.below(CASES)): Drawn {
    const index = random.below(4);
    const bit = (number: number, often: number) =>
      random.chance(often) ? 1n << BigInt(number) : 0n;
    switch (which) {
      case 0: {
        const features =
          (1n << 32n) | (1n << 30n) | bit(15, 500) | bit(28, 500) | bit(29, 500) | bit(26, 200);
        return ['VHOST_USER_SET_FEATURES', features];
      }
      case 1:
        return ['VHOST_USER_SET_PROTOCOL_FEATURES', 0xb03fn | bit(12, 500) | bit(16, 100)];
      case 2:
        return ['VHOST_USER_SET_MEM_TABLE', [this.region()], [this.fd]];
      case 3:
        return ['VHOST_USER_SET_VRING_NUM', { index, num: this.#size }];
      case 4: {
        const { desc, avail, used } = placeVring(USER + (RINGS[index] as bigint), this.#size);
        const flags = random.below(2);
        return ['VHOST_USER_SET_VRING_ADDR', { index, flags, desc, avail, used, log: 0n }];
      }
      case 5:
        return ['VHOST_USER_SET_VRING_BASE', { index, num: random.below(4) }];
      case 6:
        return ['VHOST_USER_SET_VRING_KICK', { index, noDescriptor: false }, [this.event.fd]];
      case 7:
        return ['VHOST_USER_SET_VRING_CALL', { index, noDescriptor: false }, [this.event.fd]];
      case 8:
        return ['VHOST_USER_SET_VRING_ENABLE', { index, num: Number(random.chance(900)) }];
      case 9:
        return ['VHOST_USER_GET_VRING_BASE', { index, num: 0 }];
      case 10:
        return ['VHOST_USER_SET_LOG_BASE', { size: 16n, offset: 0n }, [this.fd]];
      case 11:
        return [
          'VHOST_USER_SET_INFLIGHT_FD',
          { mmapSize: BigInt(MEMORY), mmapOffset: 0n, numQueues: 4, queueSize: this.#size },
          [this.fd],
        ];
      case 12:
        return ['VHOST_USER_ADD_MEM_REG', this.region(1n << 32n), [this.fd]];
      default:
        return ['VHOST_USER_REM_MEM_REG', this.region(1n << 32n)];
    }
  }

  region(above = 0n) {
    const guestAddress = above;
    return { guestAddress, size: BigInt(MEMORY), userAddress: USER + above, mmapOffset: 0n };
  }

  /** What a guest does: descriptors, heads and positions of its choice. */
  scribble(random: Random): void {
    const ring = Number(random.pick(RINGS));
    for (let left = random.between(1, 6); left > 0; left--) {
      const word = ring / 4 + 4 * random.below(this.#size);
      this.words[word] = random.chance(800) ? random.below(MEMORY) : random.edge(MEMORY);
      this.words[word + 1] = random.chance(950) ? 0 : random.u32();
      this.words[word + 2] = random.chance(700) ? random.between(10, 2000) : random.edge(1500);
      this.words[word + 3] =
        (random.below(this.#size) << 16) | random.pick([0, 0, 0, 1, 2, 2, 3, 4]);
    }
    const avail = ring / 2 + 8 * this.#size;
    this.halves[avail + 2 + random.below(this.#size)] = random.below(this.#size);
    const position = this.halves[avail + 1] as number;
    this.halves[avail + 1] = random.chance(970) ? position + random.below(3) : random.u32();
  }
}

/** The same request, of which something is not as it should be. */
function spoil(random: Random, [name, payload, fds]: Drawn): Drawn {
  if (typeof payload === 'bigint') return [name, DRAWN.u64(random), fds ?? []];
  if (Array.isArray(payload)) return [name, DRAWN.memory(random).slice(0, 1), fds ?? []];
  const fields = { ...(payload as Record<string, bigint | number | boolean>) };
  const key = random.pick(Object.keys(fields));
  const value = fields[key];
  if (typeof value === 'bigint') fields[key] = DRAWN.u64(random);
  else if (typeof value === 'number') fields[key] = random.edge(4);
  return [name, fields, fds ?? []];
}

function play(random: Random, sights: Sights, trace: Trace): number {
  const front = new Front(random);
  let listener: (message: VhostUserMessage) => unknown = () => {};
  const replies: unknown[] = [];
  const connection = {
    closed: false,
    listen(take: typeof listener) {
      listener = take;
    },
    sendReply: (_: string, payload: unknown) => replies.push(payload),
  };
  const state = new BackendState(limitsOf({ path: '/none', queuePairs: 2 }), {
    started: () => see(sights, 'started'),
    stopped: () => see(sights, 'stopped'),
    ring: () => {},
    features: () => {},
    notified: () => see(sights, 'called'),
    ringError: (_, error) => {
      same('what breaks a ring', (error as { code?: string }).code, 'ERR_RING_BROKEN');
      see(sights, 'a broken ring');
    },
    failed: (error) => {
      throw error;
    },
  });
  state.listener = (frames) => {
    for (const { bytes, length } of frames) {
      same('bytes of a frame', bytes.length, length);
      same('its length', length >= SHORTEST_FRAME && length <= LONGEST_FRAME, true);
    }
    see(sights, 'frames', frames.length);
  };
  serveRequests(connection as unknown as VhostUserConnection, state, {});
  const frame = new Uint8Array(random.between(SHORTEST_FRAME, 3000));
  try {
    for (let step = 0; step < STEPS; step++) {
      front.scribble(random);
      // Brought up at first, so that there is something to break.
      const sound =
        step < BRING_UP.length ? front.draw(random, BRING_UP[step]) : front.draw(random);
      const [request, payload, fds = []] = random.chance(150) ? spoil(random, sound) : sound;
      const descriptors = fds.map((fd) => ReceivedDescriptor.fromFd(fd));
      trace?.(`${step}: ${request}`);
      try {
        listener({ kind: 'request', request, payload, needReply: true, descriptors } as never);
        see(sights, replies.at(-1) === 1n ? 'refused' : 'done');
      } catch (error) {
        const { code } = error as { code?: string };
        if (code !== 'ERR_VHOST_USER_PROTOCOL') throw error;
        see(sights, 'the end');
      }
      for (const descriptor of descriptors) same('a descriptor', descriptor.closed, true);
      for (const pair of state.pairs) {
        pair.look();
        if (pair.enqueue([frame]) > 0) see(sights, 'given');
      }
    }
  } finally {
    state.close();
    front.close();
  }
  return STEPS;
}

fuzz({
  name: 'vhost-user-backend',
  states: 60_000,
  play: async (random, sights, trace) => {
    const before = openFds();
    const states = play(random, sights, trace);
    // What is polled, and what is mapped, goes in a later turn of the event loop.
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    same('descriptors', openFds(), before);
    return states;
  },
  reaches: [
    'started',
    'stopped',
    'called',
    'a broken ring',
    'frames',
    'given',
    'refused',
    'done',
    'the end',
  ],
});
