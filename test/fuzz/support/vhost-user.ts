/** vhost-user messages drawn at random, a stream that they lie in as the kernel keeps it, and what one holds. */
import type { ReceivedDescriptor, ReceivedMessage } from '../../../lib/index.js';
import type { VhostUserPayloadKind, VhostUserPayloads } from '../../../lib/vhost-user/payloads.js';
import type { Random } from './random.js';

const u64 = (random: Random) =>
  random.chance(300)
    ? ((1n << BigInt(random.below(65))) - BigInt(random.below(2))) & 0xffff_ffff_ffff_ffffn
    : (BigInt(random.u32()) << 32n) | BigInt(random.u32());
const bytes = (random: Random, length: number) =>
  Uint8Array.from({ length }, () => random.below(256));

/** A range with bytes that ends at 2^64 or before. */
function range(random: Random): { start: bigint; size: bigint } {
  const start = u64(random);
  const room = (1n << 64n) - start;
  const size = random.chance(200) ? room : (u64(random) % room) + 1n;
  return { start, size: size >= 1n << 64n ? size - 1n : size };
}

function region(random: Random) {
  const { start, size } = range(random);
  return { guestAddress: start, size, userAddress: start, mmapOffset: start };
}

const file = (random: Random) => ({
  index: random.below(256),
  noDescriptor: random.chance(500),
});

/** A payload of each kind that may be sent. */
export const DRAWN: { [K in VhostUserPayloadKind]: (random: Random) => VhostUserPayloads[K] } = {
  nothing: () => undefined,
  u64,
  vringState: (random) => ({ index: random.u32(), num: random.u32() }),
  vringAddr: (random) => ({
    index: random.u32(),
    flags: random.below(2),
    desc: u64(random),
    used: u64(random),
    avail: u64(random),
    log: u64(random),
  }),
  vringFile: file,
  vringArea(random) {
    const { start, size } = range(random);
    return { ...file(random), size, offset: start };
  },
  memory: (random) => Array.from({ length: random.between(1, 8) }, () => region(random)),
  singleRegion: region,
  log(random) {
    const { start, size } = range(random);
    return { size, offset: start };
  },
  inflight(random) {
    const { start, size } = range(random);
    const [numQueues, queueSize] = [random.between(1, 32_768), random.between(1, 32_768)];
    return { mmapSize: random.chance(300) ? 0n : size, mmapOffset: start, numQueues, queueSize };
  },
  shmemMapping(random) {
    const { start, size } = range(random);
    return { shmid: random.below(256), fdOffset: start, shmOffset: start, len: size, flags: 1n };
  },
  shmemConfig: (random) => ({
    count: random.below(257),
    sizes: new BigUint64Array(256).fill(u64(random)),
  }),
  iotlb(random) {
    const { start, size } = range(random);
    const [permission, type] = [random.below(4), random.between(1, 4)];
    return { iova: start, size, userAddress: start, permission, type };
  },
  config: (random) => ({
    offset: random.below(4096),
    flags: random.u32(),
    bytes: bytes(random, random.below(257)),
  }),
  cryptoSession: (random) => bytes(random, random.between(8, 64)),
  uuid: (random) => bytes(random, 16),
  stateTransfer: (random) => ({ direction: random.below(2), phase: random.u32() }),
  stateTransferReply(random) {
    const noDescriptor = random.chance(500);
    return { error: noDescriptor ? random.below(256) : 0, noDescriptor };
  },
};

/** A descriptor of no process. */
export class FakeDescriptor {
  closed = false;
  close(): void {
    this.closed = true;
  }
}

interface Piece {
  bytes: Uint8Array;
  descriptors: FakeDescriptor[];
}

/** What was sent and not received, as AF_UNIX keeps a stream: one piece for each send. */
export class FakeStream {
  /** Descriptors that were installed in the receiver. */
  readonly installed: FakeDescriptor[] = [];
  ended = false;
  readonly #pieces: Piece[] = [];

  send(bytes: Uint8Array, descriptors: FakeDescriptor[]): void {
    if (bytes.length > 0) this.#pieces.push({ bytes, descriptors });
  }

  /** As recvmsg(2): on over pieces without descriptors, never on from one that had some. */
  receive(buffer: Uint8Array, most: number): ReceivedMessage | undefined {
    if (buffer.length === 0) throw new Error('it receives into no room');
    let size = 0;
    let came: FakeDescriptor[] = [];
    for (let piece = this.#pieces[0]; piece && size < buffer.length; piece = this.#pieces[0]) {
      const part = piece.bytes.subarray(0, buffer.length - size);
      buffer.set(part, size);
      size += part.length;
      came = piece.descriptors;
      piece.descriptors = [];
      piece.bytes = piece.bytes.subarray(part.length);
      if (piece.bytes.length === 0) this.#pieces.shift();
      if (came.length > 0) break;
    }
    if (size === 0 && !this.ended) return undefined;
    const truncated = came.length > most;
    // The addon closes what came of too many.
    if (truncated) came = [];
    this.installed.push(...came);
    return { size, descriptors: came as unknown as ReceivedDescriptor[], truncated };
  }
}
