/**
 * Buffers and tables that begin in one region of memory and go on in the next:
 *
 *     …── first ──┤├── second ──┤├── third ──┤   hole   ├── far ──…
 *            [ buffer ]  [     another      ]        [ none ]
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import { VringDevice } from '../../lib/vring/device.js';
import { placeVring } from '../../lib/vring/layout.js';
import { type DescriptorFields, descriptorBytes, writeDescriptor } from '../support/descriptor.js';
import { closedAfterwards } from '../support/ring.js';

const PAGE = 4096;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
/** Where the regions begin that follow each other: low, over a word's end, and where the words of an address meet. */
const STARTS = [0x10_0000n, 2n ** 31n - BigInt(PAGE), 2n ** 32n - BigInt(PAGE), 2n ** 40n];
const HOLE = 4 * PAGE;

/** A ring below, and from `start` on three regions of a page, of two and of one, and one behind a hole. */
function make({ start = STARTS[0] as bigint, size = 8 } = {}) {
  const at = (pages: number) => start + BigInt(pages * PAGE);
  const memory = closedAfterwards(
    GuestMemory.create([
      { guestAddress: 0n, size: 0x1_0000 },
      { guestAddress: at(3), size: PAGE },
      { guestAddress: at(0), size: PAGE },
      { guestAddress: at(1), size: 2 * PAGE },
      { guestAddress: at(4) + BigInt(HOLE), size: PAGE },
    ]),
  );
  const addresses = placeVring(0n, size);
  const device = new VringDevice(memory, { size, addresses, indirect: true });
  let offered = 0;
  /** Offers the chain that begins at `head`. */
  const offer = (head: number) => {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(head, 0);
    memory.write(addresses.avail + BigInt(4 + 2 * (offered & (size - 1))), bytes);
    bytes.writeUInt16LE(++offered & 0xffff, 0);
    memory.write(addresses.avail + 2n, bytes);
  };
  /** Offers a chain of these buffers, from descriptor 0 on, or in a table. */
  const chain = (fields: readonly DescriptorFields[], table = addresses.desc) =>
    fields.forEach(([address, length, flags = 0], i) => {
      const more = i < fields.length - 1;
      const all: DescriptorFields = [address, length, flags | (more ? NEXT : 0), more ? i + 1 : 0];
      if (table === addresses.desc) writeDescriptor(memory, table, i, all);
      else memory.write(table + BigInt(16 * i), descriptorBytes(all));
    });
  return { memory, device, addresses, offer, chain, start };
}

/** So many bytes that no other place has. */
const pattern = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 0xff);

const WHOLE = 4 * PAGE;
const buffer = fc
  .tuple(fc.constantFrom(0, PAGE, 3 * PAGE, WHOLE), fc.integer({ min: -40, max: 40 }))
  .chain(([at, off]) =>
    fc.tuple(
      fc.constant(at + off),
      fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: WHOLE })),
    ),
  );

describe.each(STARTS)('with regions that follow each other from %i on,', (start) => {
  test('a chain is read and written byte for byte, or refused where a byte of it is in no region', () => {
    const { memory, device, offer, chain } = make({ start });
    const property = fc.property(
      fc.array(buffer, { minLength: 1, maxLength: 8 }),
      fc.nat({ max: 8 }),
      fc.integer({ min: 0, max: 50 }),
      (buffers, cut, from) => {
        const inside = buffers.every(([at, length]) => at >= 0 && at + length <= WHOLE);
        const fields = buffers.map(
          ([at, length], i): DescriptorFields => [start + BigInt(at), length, i < cut ? 0 : WRITE],
        );
        chain(fields);
        offer(0);
        if (!inside) {
          expect(() => device.take()).toThrow('outside the memory');
          device.mend();
          // What broke the ring is still there: it is taken out of it.
          chain([[start, 1]]);
          expect(device.take()).toBe(true);
          return;
        }
        expect(device.take()).toBe(true);
        const { chain: taken } = device;
        const lengthOf = (list: readonly DescriptorFields[]) =>
          list.reduce((sum, [, length]) => sum + length, 0);
        const readable = lengthOf(fields.slice(0, cut));
        const writable = lengthOf(fields.slice(cut));
        expect([taken.readableBytes, taken.writableBytes]).toEqual([readable, writable]);

        memory.write(start, pattern(WHOLE, from));
        const bytesOf = (list: readonly DescriptorFields[]) =>
          new Uint8Array(
            Buffer.concat(list.map(([address, length]) => memory.read(address, length))),
          );
        const copy = new Uint8Array(readable);
        const count = Math.max(0, readable - from);
        expect(taken.read(copy, from)).toBe(count);
        expect(copy.subarray(0, count)).toEqual(bytesOf(fields.slice(0, cut)).subarray(from));

        // Byte for byte, as the last of several that name a place has it.
        const expected = memory.read(start, WHOLE);
        const written = pattern(Math.max(0, writable - from), from + 1);
        let at = -from;
        for (const [address, length] of fields.slice(cut)) {
          for (let i = 0; i < length; i++, at++) {
            if (at >= 0) expected[Number(address - start) + i] = written[at] as number;
          }
        }
        if (from <= writable) taken.write(written, from);
        expect(Buffer.compare(memory.read(start, WHOLE), expected)).toBe(0);
      },
    );
    fc.assert(property, { numRuns: 300 });
  });

  test('each piece is told with its region', () => {
    const { memory, device, offer, chain } = make({ start });
    chain([[start + BigInt(PAGE - 5), 2 * PAGE + 12, WRITE]]);
    offer(0);
    expect(device.take()).toBe(true);
    const { chain: taken } = device;
    expect(taken.count).toBe(3);
    const pieces = [0, 1, 2].map((i) => [
      memory.regions.indexOf(taken.regionOf(i)),
      taken.offsetOf(i),
      taken.lengthOf(i),
      taken.addressOf(i) - taken.regionOf(i).address,
    ]);
    expect(pieces).toEqual([
      [1, PAGE - 5, 5, PAGE - 5],
      [2, 0, 2 * PAGE, 0],
      [3, 0, 7, 0],
    ]);
  });

  test('a table is followed wherever it is cut', () => {
    const { memory, device, offer, chain } = make({ start });
    for (let before = 1; before < 48; before++) {
      const table = start + BigInt(PAGE - before);
      chain(
        [
          [0x8000n, 3],
          [0x9000n, 5],
          [0xa000n, 7, WRITE],
        ],
        table,
      );
      writeDescriptor(memory, 0n, 0, [table, 48, INDIRECT]);
      offer(0);
      expect(device.take()).toBe(true);
      const { chain: taken } = device;
      expect([taken.count, taken.readableBytes, taken.writableBytes]).toEqual([3, 8, 7]);
      expect([0, 1, 2].map((i) => taken.offsetOf(i))).toEqual([0x8000, 0x9000, 0xa000]);
    }
  });
});

describe('what goes on where no region does', () => {
  test.each([
    ['a buffer that ends in a hole', 4 * PAGE - 8, 16, 0],
    ['a buffer over a hole, to a region that is there', 4 * PAGE - 8, HOLE + 16, 0],
    ['a buffer of nothing in a hole', 4 * PAGE, 0, 0],
    ['a table that ends in a hole', 4 * PAGE - 8, 16, INDIRECT],
    ['a table over a hole', 4 * PAGE - 16, HOLE + 32, INDIRECT],
    ['a table in a hole', 4 * PAGE, 16, INDIRECT],
  ])('breaks the ring: %s', (_, at, length, flags) => {
    const { memory, device, offer, start } = make();
    writeDescriptor(memory, 0n, 0, [start + BigInt(at), length, flags]);
    offer(0);
    const address = (start + BigInt(at)).toString(16);
    expect(() => device.take()).toThrow(`of ${length} bytes at 0x${address}, outside the memory`);
  });

  test('does not go on at address 0 behind the last there is', () => {
    const memory = closedAfterwards(
      GuestMemory.create([
        { guestAddress: 0n, size: PAGE },
        { guestAddress: 2n ** 64n - BigInt(PAGE), size: PAGE },
      ]),
    );
    const device = new VringDevice(memory, { size: 8, addresses: placeVring(0n, 8) });
    writeDescriptor(memory, 0n, 0, [2n ** 64n - 4n, 8]);
    memory.write(placeVring(0n, 8).avail + 2n, Uint8Array.of(1, 0));
    expect(() => device.take()).toThrow('outside the memory');
  });
});

describe('the limits', () => {
  test('a chain of as many buffers as the ring has, each over three regions, is taken', () => {
    const { device, offer, chain, start } = make();
    const over: DescriptorFields = [start + BigInt(PAGE - 1), 2 * PAGE + 2];
    chain(Array.from({ length: 8 }, () => over));
    offer(0);
    expect(device.take()).toBe(true);
    expect([device.chain.count, device.chain.readable]).toEqual([24, 24]);
    expect(device.chain.readableBytes).toBe(8 * (2 * PAGE + 2));
  });

  test('a chain of more buffers than the ring has is a loop still, however few its pieces', () => {
    const { memory, device, offer, start } = make();
    writeDescriptor(memory, 0n, 0, [start + BigInt(PAGE - 1), 2, NEXT, 0]);
    offer(0);
    expect(() => device.take()).toThrow('a chain longer than the ring');
  });

  test('a table of more buffers than the ring has is too long, and one of as many is not', () => {
    const { memory, device, offer, chain, start } = make();
    const over: DescriptorFields = [start + BigInt(PAGE - 1), 2];
    for (const length of [8, 9]) {
      chain(
        Array.from({ length }, () => over),
        0x8000n,
      );
      writeDescriptor(memory, 0n, 0, [0x8000n, 16 * length, INDIRECT]);
      offer(0);
      if (length === 8) {
        expect(device.take()).toBe(true);
        expect(device.chain.count).toBe(16);
      } else {
        expect(() => device.take()).toThrow('a chain longer than the ring');
      }
    }
  });

  test('a ring’s descriptors before a table count as well', () => {
    const { memory, device, offer, chain, start } = make();
    const over: DescriptorFields = [start + BigInt(PAGE - 1), 2];
    chain(
      Array.from({ length: 7 }, () => over),
      0x8000n,
    );
    writeDescriptor(memory, 0n, 0, [start, 1, NEXT, 1]);
    writeDescriptor(memory, 0n, 1, [0x8000n, 16 * 7, INDIRECT]);
    offer(0);
    expect(device.take()).toBe(true);
    expect(device.chain.count).toBe(15);
    writeDescriptor(memory, 0n, 1, [start, 1, NEXT, 2]);
    writeDescriptor(memory, 0n, 2, [0x8000n, 16 * 7, INDIRECT]);
    offer(0);
    expect(() => device.take()).toThrow('a chain longer than the ring');
  });

  test('1024 pieces are one too many for another cut, and room for the rest of the ring', () => {
    const size = 1024;
    const { device, offer, chain, start } = make({ size });
    const over: DescriptorFields = [start + BigInt(PAGE - 1), 2];
    const plain: DescriptorFields = [start, 1];
    const cut = (count: number, rest: number) => [
      ...Array.from({ length: count }, () => over),
      ...Array.from({ length: rest }, () => plain),
    ];
    chain(cut(512, 512));
    offer(0);
    expect(device.take()).toBe(true);
    expect([device.chain.count, device.chain.readableBytes]).toEqual([1536, 1536]);
    chain(cut(513, 0));
    offer(0);
    expect(() => device.take()).toThrow('a chain of more than 1024 pieces');
  });

  test('a table that no chain can use whole is refused, before it is copied', () => {
    const memory = closedAfterwards(GuestMemory.create([{ guestAddress: 0n, size: 2 << 20 }]));
    const addresses = placeVring(0n, 8);
    const device = new VringDevice(memory, { size: 8, addresses, indirect: true });
    writeDescriptor(memory, 0n, 0, [8n, 16 * 65_537, INDIRECT]);
    memory.write(addresses.avail + 2n, Uint8Array.of(1, 0));
    expect(() => device.take()).toThrow('an indirect table of 1048592 bytes');
    device.mend();
    writeDescriptor(memory, 0n, 0, [0x8000n, 16 * 65_536, INDIRECT]);
    expect(device.take()).toBe(true);
  });
});
