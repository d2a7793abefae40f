/** The shared memory of a port: for each queue pair two rings, receive buffers, room to send from. */
import { GuestMemory } from '../host/guest-memory.js';
import { native } from '../native.js';
import { placeVring, type VringAddresses, vringBytes } from '../vring/layout.js';
import { CACHE_LINE } from './send-arena.js';

/** A range of guest memory. */
export interface BufferArea {
  /** Guest-physical address of the first byte. */
  address: bigint;
  bytes: Uint8Array;
}

/** Where one queue pair lies. */
export interface PairLayout {
  receive: VringAddresses;
  transmit: VringAddresses;
  /** `queueSize` buffers of `bufferSize` bytes, one after another. */
  receiveArea: BufferArea;
  transmitArea: BufferArea;
}

export interface PortMemory {
  memory: GuestMemory;
  pairs: PairLayout[];
}

export interface PortMemoryOptions {
  queueSize: number;
  bufferSize: number;
  queuePairs: number;
  /** A descriptor of the memory of a port that goes on here; it is duplicated. Default: new memory. */
  fd?: number | undefined;
}

/** Two frames of any length fit, however small the ring. */
const LEAST_TRANSMIT = 2 * (65_600 + CACHE_LINE);

/**
 * One region with, for each pair, `queueSize` descriptors for each ring, as many receive buffers of
 * `bufferSize` bytes, and room to send as much, each frame on cache lines of its own. A guest address is an
 * offset in the region; pages that nothing was written to take no memory.
 */
export function createPortMemory(options: PortMemoryOptions): PortMemory {
  const { queueSize, bufferSize, queuePairs, fd } = options;
  let end = 0;
  const place = (bytes: number) => {
    const at = end;
    end = at + roundUp(bytes, 64);
    return at;
  };
  const receiveBytes = queueSize * bufferSize;
  const transmitBytes = Math.max(
    queueSize * roundUp(bufferSize + CACHE_LINE, CACHE_LINE),
    LEAST_TRANSMIT,
  );
  const placed = Array.from({ length: queuePairs }, () => ({
    receive: place(vringBytes(queueSize)),
    transmit: place(vringBytes(queueSize)),
    receiveArea: place(receiveBytes),
    transmitArea: place(transmitBytes),
  }));
  const size = roundUp(end, native.pageSize);
  const backing = fd === undefined ? 'memfd' : { fd };
  const memory = GuestMemory.create([{ guestAddress: 0n, size, backing }]);
  const area = (at: number, bytes: number): BufferArea => ({
    address: BigInt(at),
    bytes: memory.bytes(BigInt(at), bytes),
  });
  const pairs = placed.map(
    (at): PairLayout => ({
      receive: placeVring(BigInt(at.receive), queueSize),
      transmit: placeVring(BigInt(at.transmit), queueSize),
      receiveArea: area(at.receiveArea, receiveBytes),
      transmitArea: area(at.transmitArea, transmitBytes),
    }),
  );
  return { memory, pairs };
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
