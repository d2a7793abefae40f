/** A descriptor of a ring as its driver writes it, by hand. */
import type { GuestMemory } from '../../lib/index.js';

/** Address, length, flags, next. */
export type DescriptorFields = readonly [bigint, number, number?, number?];

/** Its bytes, as virtio 1.3 §2.7.5 has them. */
export function descriptorBytes([address, length, flags = 0, next = 0]: DescriptorFields): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(address, 0);
  bytes.writeUInt32LE(length, 8);
  bytes.writeUInt16LE(flags, 12);
  bytes.writeUInt16LE(next, 14);
  return bytes;
}

/** Writes the descriptor at `index` of a table: a ring's, or one elsewhere. */
export function writeDescriptor(
  memory: GuestMemory,
  table: bigint,
  index: number,
  fields: DescriptorFields,
): void {
  memory.write(table + BigInt(16 * index), descriptorBytes(fields));
}
