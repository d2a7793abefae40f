import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import { MemoryRegion, type RegionOptions } from '../../lib/host/memory-region.js';
import { type Fd, native } from '../../lib/native.js';
import { closedAfterwards } from '../support/ring.js';
import { aWhile } from '../support/turns.js';

const PAGE = native.pageSize;
const GIB = 2 ** 30;
const CLOSED = expect.objectContaining({ name: 'StateError', code: 'ERR_CLOSED' });

const memoryOf = (...regions: RegionOptions[]) => closedAfterwards(GuestMemory.create(regions));
const only = (memory: GuestMemory) => memory.regions[0] as MemoryRegion;

/** Whether something is mapped at an address of this process. */
function mapped(address: bigint): boolean {
  const start = new RegExp(`^0*${address.toString(16)}-`, 'm');
  return start.test(readFileSync('/proc/self/maps', 'utf8'));
}

test('a region is zeroed shared memory at a page of this process', () => {
  const region = only(memoryOf({ guestAddress: 0x10_0000n, size: 4 * PAGE }));
  expect(region).toMatchObject({ guestAddress: 0x10_0000n, size: 4 * PAGE, fileOffset: 0 });
  expect(region.userAddress % BigInt(PAGE)).toBe(0n);
  expect(mapped(region.userAddress)).toBe(true);
  expect(new Uint8Array(region.buffer)).toEqual(new Uint8Array(4 * PAGE));
});

test('what is written through the buffer is in the file, and the other way round', () => {
  const region = only(memoryOf({ guestAddress: 0n, size: PAGE }));
  const fd = native.dup(region.fd) as Fd;
  const again = native.memoryMap(fd, 0n, BigInt(PAGE)) as { address: bigint; buffer: ArrayBuffer };
  new Uint8Array(region.buffer)[5] = 55;
  expect(new Uint8Array(again.buffer)[5]).toBe(55);
  new Uint8Array(again.buffer)[6] = 66;
  expect(new Uint8Array(region.buffer)[6]).toBe(66);
  native.memoryDetach(again.buffer);
  fd.close();
});

test('a memfd is sealed: nobody can shrink it, grow it or take the seals off', () => {
  const region = only(memoryOf({ guestAddress: 0n, size: 2 * PAGE }));
  const fd = native.dup(region.fd) as Fd;
  expect(native.truncate(fd, BigInt(PAGE))).toBe(-1);
  expect(native.truncate(fd, BigInt(4 * PAGE))).toBe(-1);
  expect(native.fileSize(fd)).toBe(BigInt(2 * PAGE));
  // F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW of linux/fcntl.h.
  expect(native.getSeals(fd)).toBe(1 | 2 | 4);
  expect(native.addSeals(fd, 8)).toBe(-1);
  fd.close();
});

test.each([
  ['size', { guestAddress: 0n, size: 0 }, 'ERR_OUT_OF_RANGE'],
  ['size', { guestAddress: 0n, size: -PAGE }, 'ERR_OUT_OF_RANGE'],
  ['size', { guestAddress: 0n, size: Number.NaN }, 'ERR_OUT_OF_RANGE'],
  ['size', { guestAddress: 0n, size: 2 ** 60 }, 'ERR_OUT_OF_RANGE'],
  ['size', { guestAddress: 0n, size: PAGE + 1 }, 'ERR_INVALID_ARG_VALUE'],
  ['address', { guestAddress: 1n, size: PAGE }, 'ERR_INVALID_ARG_VALUE'],
  ['address', { guestAddress: -BigInt(PAGE), size: PAGE }, 'ERR_OUT_OF_RANGE'],
  ['address', { guestAddress: 2n ** 64n, size: PAGE }, 'ERR_OUT_OF_RANGE'],
  ['guestAddress', { guestAddress: 4096, size: PAGE }, 'ERR_INVALID_ARG_TYPE'],
])('a %s as in %o is refused', (what, options, code) => {
  expect(() => MemoryRegion.create(options as RegionOptions)).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(what) }),
  );
});

test('a region may end at the end of the address space, and its size may be a bigint', () => {
  const memory = memoryOf({ guestAddress: 2n ** 64n - BigInt(PAGE), size: BigInt(PAGE) });
  expect([memory.end, only(memory).size]).toEqual([2n ** 64n, PAGE]);
});

test('over 4 GiB: Node 22 and newer map it, Node 20 says why it cannot', () => {
  const options = { guestAddress: 0n, size: 5 * GIB };
  if (Number(process.versions.node.split('.')[0]) >= 22) {
    const region = only(memoryOf(options));
    const last = new Uint8Array(region.buffer, 5 * GIB - 1, 1);
    last[0] = 77;
    expect(new Uint8Array(region.buffer)[5 * GIB - 1]).toBe(77);
  } else {
    expect(() => GuestMemory.create([options])).toThrow(
      expect.objectContaining({
        name: 'RangeError',
        code: 'ERR_REGION_TOO_LARGE',
        hint: 'use Node 22 or newer, or regions of at most 4 GiB',
      }),
    );
  }
});

test('exactly 4 GiB can be mapped on every Node', () => {
  const region = only(memoryOf({ guestAddress: 0n, size: 4 * GIB }));
  expect(region.buffer.byteLength).toBe(4 * GIB);
});

test('after close() every view is empty and every accessor throws ERR_CLOSED', () => {
  const memory = GuestMemory.create([{ guestAddress: 0n, size: PAGE }]);
  const region = only(memory);
  const { buffer } = region;
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  memory.close();
  expect([bytes.length, bytes[0], buffer.byteLength]).toEqual([0, undefined, 0]);
  expect(() => view.getUint8(0)).toThrow(TypeError);
  expect(() => Atomics.load(bytes, 0)).toThrow(TypeError);
  expect(() => region.buffer).toThrow(CLOSED);
  expect(() => region.fd).toThrow(CLOSED);
  expect(() => memory.find(0n)).toThrow(CLOSED);
  expect(() => memory.read(0n, 1)).toThrow(CLOSED);
  expect(() => memory.hold({})).toThrow(CLOSED);
});

test('close() gives the memory back without waiting for the garbage collector', async () => {
  const memory = GuestMemory.create([{ guestAddress: 0n, size: PAGE }]);
  const { userAddress } = only(memory);
  memory.close();
  await aWhile();
  expect(mapped(userAddress)).toBe(false);
  expect(memory.closed).toBe(true);
});

test('closing twice never detaches or closes twice', () => {
  const memory = GuestMemory.create([{ guestAddress: 0n, size: PAGE }]);
  const { fd } = only(memory);
  memory.close();
  const next = memoryOf({ guestAddress: 0n, size: PAGE });
  expect(only(next).fd).toBe(fd);
  memory.close();
  memory[Symbol.dispose]();
  expect(new Uint8Array(only(next).buffer)).toHaveLength(PAGE);
});

test('ArrayBuffer.transfer() takes the bytes along: they live as long as whoever has them', async () => {
  const memory = GuestMemory.create([{ guestAddress: 0n, size: PAGE }]);
  const { buffer, userAddress } = only(memory);
  new Uint8Array(buffer)[9] = 99;
  const transfer = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'transfer')?.value;
  // Node 20 has no such thing, and nothing else moves the bytes away.
  const moved: ArrayBuffer = transfer ? transfer.call(buffer) : buffer;
  memory.close();
  await aWhile();
  expect(mapped(userAddress)).toBe(transfer !== undefined);
  expect(moved.byteLength).toBe(transfer ? PAGE : 0);
  if (transfer) expect(new Uint8Array(moved)[9]).toBe(99);
});

test('a clone of the buffer is a copy', () => {
  const { buffer } = only(memoryOf({ guestAddress: 0n, size: PAGE }));
  const bytes = new Uint8Array(buffer);
  bytes[0] = 1;
  const copy = new Uint8Array(structuredClone(buffer));
  expect(copy[0]).toBe(1);
  copy[0] = 2;
  expect(bytes[0]).toBe(1);
});

test('no transfer to another realm takes the bytes away: refused, or on Node 20 a copy', () => {
  const { buffer } = only(memoryOf({ guestAddress: 0n, size: PAGE }));
  const bytes = new Uint8Array(buffer);
  const transfer = () => structuredClone(buffer, { transfer: [buffer] });
  if (process.versions.node.startsWith('20.')) new Uint8Array(transfer())[0] = 2;
  else expect(transfer).toThrow(expect.objectContaining({ name: 'DataCloneError' }));
  expect([buffer.byteLength, bytes.length, bytes[0]]).toEqual([PAGE, PAGE, 0]);
});

test('memory that is held cannot be closed, until everybody let go', () => {
  const memory = GuestMemory.create([{ guestAddress: 0n, size: PAGE }]);
  const holders = [{}, {}] as const;
  memory.hold(holders[0]);
  memory.hold(holders[1]);
  memory.hold(holders[1]);
  memory.release(holders[0]);
  expect(() => memory.close()).toThrow(
    expect.objectContaining({ code: 'ERR_MEMORY_IN_USE', hint: expect.stringContaining('owner') }),
  );
  expect(memory.closed).toBe(false);
  expect(memory.read(0n, 1)).toEqual(Uint8Array.of(0));
  memory.release(holders[1]);
  memory.close();
  expect(memory.closed).toBe(true);
});
