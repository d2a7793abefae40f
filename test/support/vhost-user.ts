/** vhost-user messages for tests: payloads of every kind, drawn and plain, and bytes by hand. */
import fc, { type Arbitrary } from 'fast-check';
import type { VhostUserPayloadKind, VhostUserPayloads } from '../../lib/vhost-user/payloads.js';

export const u32 = fc.nat({ max: 0xffff_ffff });
export const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

/** A range of at least a byte that ends within 2^64. */
const range = fc
  .tuple(u64, u64)
  .map(([a, b]) => (a < b ? { start: a, size: b - a } : { start: b, size: a - b || 1n }));

const region = fc
  .record({
    size: fc.bigInt({ min: 1n, max: 1n << 40n }),
    guestAddress: fc.bigInt({ min: 0n, max: 1n << 62n }),
    userAddress: fc.bigInt({ min: 0n, max: 1n << 62n }),
    mmapOffset: fc.bigInt({ min: 0n, max: 1n << 62n }),
  })
  .map(({ size, ...rest }) => ({ ...rest, size }));

const file = fc.record({ index: fc.nat({ max: 255 }), noDescriptor: fc.boolean() });
const bytes = (least: number, most: number) => fc.uint8Array({ minLength: least, maxLength: most });

/** Any payload of each kind that may be sent. */
export const ARBITRARY: { [K in VhostUserPayloadKind]: Arbitrary<VhostUserPayloads[K]> } = {
  nothing: fc.constant(undefined),
  u64,
  vringState: fc.record({ index: u32, num: u32 }),
  vringAddr: fc.record({
    index: u32,
    flags: fc.nat({ max: 1 }),
    desc: u64,
    used: u64,
    avail: u64,
    log: u64,
  }),
  vringFile: file,
  vringArea: fc.tuple(file, range).map(([of, { start, size }]) => ({ ...of, size, offset: start })),
  memory: fc.array(region, { minLength: 1, maxLength: 8 }),
  singleRegion: region,
  log: range.map(({ start, size }) => ({ size, offset: start })),
  inflight: fc
    .tuple(range, fc.integer({ min: 1, max: 32_768 }), fc.integer({ min: 1, max: 32_768 }))
    .map(([{ start, size }, numQueues, queueSize]) => ({
      mmapSize: size,
      mmapOffset: start,
      numQueues,
      queueSize,
    })),
  shmemMapping: fc.record({
    shmid: fc.nat({ max: 255 }),
    fdOffset: fc.bigInt({ min: 0n, max: 1n << 62n }),
    shmOffset: fc.bigInt({ min: 0n, max: 1n << 62n }),
    len: fc.bigInt({ min: 1n, max: 1n << 62n }),
    flags: u64,
  }),
  shmemConfig: fc.record({
    count: fc.nat({ max: 256 }),
    sizes: fc
      .array(u64, { maxLength: 8 })
      .map((some) => BigUint64Array.from({ length: 256 }, (_, i) => some[i] ?? 0n)),
  }),
  iotlb: fc
    .tuple(range, fc.nat({ max: 3 }), fc.integer({ min: 1, max: 4 }))
    .map(([{ start, size }, permission, type]) => ({
      iova: start,
      size,
      userAddress: start,
      permission,
      type,
    })),
  config: fc.record({ offset: fc.nat({ max: 4096 }), flags: u32, bytes: bytes(0, 256) }),
  cryptoSession: bytes(8, 4096),
  uuid: bytes(16, 16),
  stateTransfer: fc.record({ direction: fc.nat({ max: 1 }), phase: u32 }),
  stateTransferReply: fc
    .record({ error: fc.nat({ max: 255 }), noDescriptor: fc.boolean() })
    .map(({ error, noDescriptor }) => ({ error, noDescriptor: noDescriptor || error !== 0 })),
};

/** How many descriptors a sound message with this payload has, of those that the rule allows. */
export function fittingDescriptors(
  { least, exactly }: { least: number; exactly?: (payload: never) => number },
  payload: unknown,
): number {
  return exactly?.(payload as never) ?? least;
}

/** Fields of so many bytes each, little-endian. */
export function le(
  ...fields: readonly (readonly [bytes: 1 | 2 | 4 | 8, value: number | bigint])[]
): Uint8Array {
  return Uint8Array.from(
    fields.flatMap(([size, value]) =>
      Array.from({ length: size }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 0xffn)),
    ),
  );
}

/** A message by hand: 12 bytes of header, and a payload whose size may be a lie. */
export function message(
  request: number,
  flags: number,
  payload: Uint8Array = new Uint8Array(),
  size = payload.length,
): Uint8Array {
  return Uint8Array.from([...le([4, request], [4, flags], [4, size]), ...payload]);
}
