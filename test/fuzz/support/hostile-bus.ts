/** What a hostile guest does to the registers of a card, whichever transport they belong to. */
import type { VirtioNetDevice } from '../../../lib/device/virtio-net-device.js';
import type { Random } from './random.js';

/** What a write may have to wait for. */
export type Wait = Promise<void> | undefined;

export interface Access {
  /** For a replay: `'write common 0x14 <- 0f'`. */
  what: string;
  wait: Wait;
}

export interface HostileBus {
  /** One read of anything. Throws where it gives another length than was asked for. */
  read(random: Random): string;
  /** One write of anything. */
  write(random: Random): Access;
  /** Notifies a queue, which may not be there. */
  kick(index: number): Wait;
  /** What a driver does that knows how: a reset and a handshake with these features, every queue set up. */
  bringUp(features: bigint): Promise<void>;
  /** A call of queue 0 and the interrupts that came of it, in the end. */
  interrupted(): boolean;
  readonly status: number;
  /** A write of the status. */
  setStatus(status: number): Wait;
  /** What holds whenever nothing is under way. Throws. */
  checkAtRest(): void;
  close(): void;
}

export type MakeBus = (device: VirtioNetDevice, random: Random) => HostileBus;

/** Bytes of any kind, at most 16 of them: small numbers most often. */
export function anyBytes(random: Random, width: number): Uint8Array {
  const bytes = new Uint8Array(width);
  const value = anyNumber(random);
  for (let i = 0; i < width; i++) bytes[i] = i < 4 ? value >>> (8 * i) : random.below(2) * value;
  return bytes;
}

const STATUSES = [1, 3, 11, 15];

function anyNumber(random: Random): number {
  switch (random.below(6)) {
    case 0:
      return random.pick(STATUSES);
    case 1:
      return random.below(2);
    case 2:
      return random.below(16);
    case 3:
      return random.edge(256);
    case 4:
      return random.u32();
    default:
      return 2 ** random.below(10);
  }
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** Throws unless `bytes` has the length that was read. */
export function checkLength(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) throw new Error(`${bytes.length} bytes, not ${length}`);
  return bytes;
}
