/** The shared memory of one queue pair of a port: two rings, receive buffers, room to send from. */
import { GuestMemory } from '../host/guest-memory.js';
import { native } from '../native.js';
import { placeVring, type VringAddresses, vringBytes } from '../vring/layout.js';

/** A range of guest memory. */
export interface BufferArea {
  /** Guest-physical address of the first byte. */
  address: bigint;
  bytes: Uint8Array;
}

export interface PortMemory {
  memory: GuestMemory;
  receive: VringAddresses;
  transmit: VringAddresses;
  /** `queueSize` buffers of `bufferSize` bytes, one after another. */
  receiveArea: BufferArea;
  transmitArea: BufferArea;
}

/** Two frames of any length fit, however small the ring. */
const LEAST_TRANSMIT = 2 * 65_600;

/**
 * Lays out one region: `queueSize` descriptors for each ring, as many receive buffers of `bufferSize`
 * bytes, as much room again to send from. A guest address is an offset in the region.
 */
export function createPortMemory(queueSize: number, bufferSize: number): PortMemory {
  let end = 0;
  const place = (bytes: number) => {
    const at = end;
    end = at + Math.ceil(bytes / 64) * 64;
    return at;
  };
  const receive = place(vringBytes(queueSize));
  const transmit = place(vringBytes(queueSize));
  const receiveBytes = queueSize * bufferSize;
  const receiveAt = place(receiveBytes);
  const transmitBytes = Math.ceil(Math.max(receiveBytes, LEAST_TRANSMIT) / 64) * 64;
  const transmitAt = place(transmitBytes);
  const size = Math.ceil(end / native.pageSize) * native.pageSize;
  const memory = GuestMemory.create([{ guestAddress: 0n, size }]);
  const area = (at: number, bytes: number): BufferArea => ({
    address: BigInt(at),
    bytes: memory.bytes(BigInt(at), bytes),
  });
  return {
    memory,
    receive: placeVring(BigInt(receive), queueSize),
    transmit: placeVring(BigInt(transmit), queueSize),
    receiveArea: area(receiveAt, receiveBytes),
    transmitArea: area(transmitAt, transmitBytes),
  };
}
