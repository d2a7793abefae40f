/** The device end of a ring: beside our own driver, and beside one that lies. */
import { describe, expect, test } from 'vitest';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import { VringDevice } from '../../lib/vring/device.js';
import { VringDriver } from '../../lib/vring/driver.js';
import { placeVring } from '../../lib/vring/layout.js';
import { type DescriptorFields, writeDescriptor } from '../support/descriptor.js';
import { closedAfterwards, segments } from '../support/ring.js';

const SIZE = 8;
const DATA = 0x4000;
const TABLES = 0x2000;
const SECOND = 1n << 32n;
const addresses = placeVring(0n, SIZE);

interface Made {
  eventIdx?: boolean;
  indirect?: boolean;
  tables?: number;
}

/** A ring in memory of two regions, with both ends. */
function make({ eventIdx = false, indirect = true, tables = 0 }: Made = {}) {
  const memory = closedAfterwards(
    GuestMemory.create([
      { guestAddress: 0n, size: 0x8000 },
      { guestAddress: SECOND, size: 0x1000 },
    ]),
  );
  const driver = new VringDriver(memory, {
    size: SIZE,
    addresses,
    eventIdx,
    ...(tables > 0 ? { indirect: { address: BigInt(TABLES), length: tables } } : {}),
  });
  const device = new VringDevice(memory, { size: SIZE, addresses, eventIdx, indirect });
  return { memory, driver, device };
}

/** Writes a descriptor of the ring's table, or of another. */
function write(
  memory: GuestMemory,
  index: number,
  fields: DescriptorFields,
  table = addresses.desc,
): void {
  writeDescriptor(memory, table, index, fields);
}

/** Offers chains by their heads, whatever was offered before. */
function offer(memory: GuestMemory, ...heads: number[]): void {
  const bytes = Buffer.alloc(4 + 2 * heads.length);
  bytes.writeUInt16LE(heads.length, 2);
  heads.forEach((head, i) => {
    bytes.writeUInt16LE(head, 4 + 2 * i);
  });
  memory.write(addresses.avail, bytes);
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

describe('beside a driver', () => {
  test('a chain is read and written across its buffers, and comes back with what was written', () => {
    const { memory, driver, device } = make();
    memory.write(BigInt(DATA), Buffer.from('abcdefgh'));
    const list = segments([DATA, 3], [DATA + 3, 5], [DATA + 100, 2], [DATA + 200, 4]);
    const head = driver.add(list, 2, 2);
    driver.publish();

    expect(device.take()).toBe(true);
    const { chain } = device;
    expect([chain.head, chain.count, chain.readable]).toEqual([head, 4, 2]);
    expect([chain.readableBytes, chain.writableBytes]).toEqual([8, 6]);
    const copy = new Uint8Array(16);
    expect(chain.read(copy)).toBe(8);
    expect(text(copy.subarray(0, 8))).toBe('abcdefgh');
    expect(chain.read(copy.subarray(0, 3), 2)).toBe(3);
    expect(text(copy.subarray(0, 3))).toBe('cde');
    expect(chain.read(copy, 8)).toBe(0);
    expect(chain.write(Buffer.from('XYZ'), 1)).toBe(3);
    expect(text(memory.read(BigInt(DATA + 100), 2))).toBe('\0X');
    expect(text(memory.read(BigInt(DATA + 200), 4))).toBe('YZ\0\0');
    expect(() => chain.write(new Uint8Array(6), 1)).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
    );

    device.give(chain.head, 4);
    expect(driver.pop()).toBe(-1);
    device.publish();
    expect([driver.pop(), driver.usedLength]).toEqual([head, 4]);
    expect(device.take()).toBe(false);
  });

  test('indirect tables are followed, on a word or not, and in another region', () => {
    const { memory, driver, device } = make({ tables: 4 });
    driver.add(segments([DATA, 3], [DATA + 3, 5]), 1, 1);
    driver.publish();
    expect(device.take()).toBe(true);
    expect([device.chain.count, device.chain.readable]).toEqual([2, 1]);

    const table = SECOND + 2n;
    write(memory, 0, [SECOND + 0x100n, 7], table);
    memory.write(table + 12n, Buffer.from([1, 0, 1, 0]));
    write(memory, 1, [BigInt(DATA), 9, 2], table);
    write(memory, 3, [table, 32, 4]);
    memory.write(addresses.avail + 6n, Buffer.from([3, 0]));
    memory.write(addresses.avail + 2n, Buffer.from([2, 0]));
    expect(device.take()).toBe(true);
    expect([device.chain.head, device.chain.lengthOf(0), device.chain.lengthOf(1)]).toEqual([
      3, 7, 9,
    ]);
  });

  test('seventy thousand chains go round the indices, in order', () => {
    const { driver, device } = make({ eventIdx: true });
    for (let i = 0; i < 70_000; i++) {
      const head = driver.addReadable(DATA, 0, (i % 1000) + 1);
      driver.publish();
      // An expectation costs more than the rings do: one for each that was wrong.
      const right = device.take() && device.chain.readableBytes === (i % 1000) + 1;
      device.give(device.chain.head, 0);
      device.publish();
      if (!right || driver.pop() !== head) expect.fail(`chain ${i} came otherwise`);
    }
    expect(device.base).toBe(70_000 & 0xffff);
  });

  test('another device goes on where one stopped', () => {
    const { memory, driver, device } = make();
    driver.addReadable(DATA, 0, 1);
    driver.addReadable(DATA, 0, 2);
    driver.publish();
    device.take();
    device.give(device.chain.head, 0);
    device.publish();
    const next = new VringDevice(memory, { size: SIZE, addresses, base: device.base });
    expect(next.take()).toBe(true);
    expect(next.chain.readableBytes).toBe(2);
    next.give(next.chain.head, 0);
    next.publish();
    expect([driver.pop(), driver.pop(), driver.pop()]).toEqual([0, 1, -1]);
  });
});

describe.each([true, false])('notifications, event index %s', (eventIdx) => {
  test('a kick is wanted exactly where it was asked for', () => {
    const { driver, device } = make({ eventIdx });
    expect(device.enableKicks()).toBe(false);
    driver.addReadable(DATA, 0, 1);
    expect(driver.publish()).toBe(true);
    expect(device.enableKicks()).toBe(true);
    device.take();
    device.disableKicks();
    driver.addReadable(DATA, 0, 1);
    // With an event index the last one asked for has passed.
    expect(driver.publish()).toBe(false);
  });

  test('a call is made exactly where it was asked for', () => {
    const { driver, device } = make({ eventIdx });
    const serve = () => {
      driver.addReadable(DATA, 0, 1);
      driver.publish();
      device.take();
      device.give(device.chain.head, 0);
      return device.publish();
    };
    driver.enableCalls();
    expect(serve()).toBe(true);
    driver.pop();
    driver.disableCalls();
    if (eventIdx) driver.enableCalls(3);
    expect(serve()).toBe(false);
    driver.enableCalls(1);
    expect(serve()).toBe(true);
    expect(device.publish()).toBe(false);
  });
});

describe('a driver that lies breaks its ring, with the words for it', () => {
  const lies: [string, (memory: GuestMemory) => void, string][] = [
    ['a head beyond the ring', (memory) => offer(memory, SIZE), 'descriptor 8 of 8'],
    [
      'more chains than descriptors',
      (memory) => memory.write(addresses.avail + 2n, Buffer.from([SIZE + 1, 0])),
      '9 chains at once',
    ],
    [
      'a next beyond the ring',
      (memory) => {
        write(memory, 0, [BigInt(DATA), 1, 1, 700]);
        offer(memory, 0);
      },
      'descriptor 700 of 8',
    ],
    [
      'a loop',
      (memory) => {
        write(memory, 0, [BigInt(DATA), 1, 1, 1]);
        write(memory, 1, [BigInt(DATA), 1, 1, 0]);
        offer(memory, 0);
      },
      'a chain longer than the ring',
    ],
    [
      'a buffer outside the memory',
      (memory) => {
        write(memory, 0, [0x7fffn, 2]);
        offer(memory, 0);
      },
      'a buffer of 2 bytes at 0x7fff, outside the memory',
    ],
    [
      'a buffer at the end of the address space',
      (memory) => {
        write(memory, 0, [0xffff_ffff_ffff_fff0n, 0xffff_ffff]);
        offer(memory, 0);
      },
      'at 0xfffffffffffffff0, outside the memory',
    ],
    [
      'a buffer to read behind one to write',
      (memory) => {
        write(memory, 0, [BigInt(DATA), 1, 3, 1]);
        write(memory, 1, [BigInt(DATA), 1]);
        offer(memory, 0);
      },
      'a buffer to read behind one to write',
    ],
    [
      'a table that goes on in the ring',
      (memory) => {
        write(memory, 0, [BigInt(TABLES), 16, 5, 1]);
        offer(memory, 0);
      },
      'an indirect table that goes on in the ring',
    ],
    [
      'a table within a table',
      (memory) => {
        write(memory, 0, [BigInt(TABLES), 16, 4]);
        write(memory, 0, [BigInt(TABLES), 16, 4], BigInt(TABLES));
        offer(memory, 0);
      },
      'an indirect table within an indirect table',
    ],
    ...[0, 8, 17].map((bytes): [string, (memory: GuestMemory) => void, string] => [
      `a table of ${bytes} bytes`,
      (memory) => {
        write(memory, 0, [BigInt(TABLES), bytes, 4]);
        offer(memory, 0);
      },
      `an indirect table of ${bytes} bytes`,
    ]),
    [
      'a table outside the memory',
      (memory) => {
        write(memory, 0, [0x7ff8n, 16, 4]);
        offer(memory, 0);
      },
      'an indirect table of 16 bytes at 0x7ff8, outside the memory',
    ],
    [
      'a table with more buffers than the ring has descriptors',
      (memory) => {
        write(memory, 0, [BigInt(TABLES), 16 * (SIZE + 1), 4]);
        for (let i = 0; i <= SIZE; i++) {
          write(memory, i, [BigInt(DATA), 1, i < SIZE ? 1 : 0, i + 1], BigInt(TABLES));
        }
        offer(memory, 0);
      },
      'a chain longer than the ring',
    ],
  ];

  test.each(lies)('%s', (_, lie, words) => {
    const { memory, device } = make();
    lie(memory);
    const broken = expect.objectContaining({
      code: 'ERR_RING_BROKEN',
      message: expect.stringContaining(words) as unknown,
    });
    expect(() => device.take()).toThrow(broken);
    expect(device.broken).toBe(true);
    expect(() => device.take()).toThrow(broken);
  });

  test('an indirect table that was not negotiated', () => {
    const { memory, device } = make({ indirect: false });
    write(memory, 0, [BigInt(TABLES), 16, 4]);
    offer(memory, 0);
    expect(() => device.take()).toThrow('not negotiated');
  });
});
