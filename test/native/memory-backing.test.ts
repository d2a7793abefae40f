/** Where a region's bytes come from: huge pages, files, descriptors of somebody else. */
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GuestMemory } from '../../lib/host/guest-memory.js';
import type { MemoryRegion, RegionBacking } from '../../lib/host/memory-region.js';
import { native } from '../../lib/native.js';
import { closedAfterwards } from '../support/ring.js';
import { aWhile } from '../support/turns.js';

const PAGE = native.pageSize;
const HUGE = 2 << 20;
const openFiles = () => readdirSync('/proc/self/fd').length;

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vhost-net-memory-'));
  file = join(folder, 'three-pages');
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A region over three pages of a file whose bytes are 1, 2 and 3. */
function regionOf(backing: RegionBacking, size = PAGE): MemoryRegion {
  const memory = GuestMemory.create([{ guestAddress: 0n, size, backing }]);
  return closedAfterwards(memory).regions[0] as MemoryRegion;
}

function writeThreePages(): void {
  writeFileSync(file, Buffer.concat([1, 2, 3].map((byte) => Buffer.alloc(PAGE, byte))));
}

test('a file is mapped from its offset on, and shared', () => {
  writeThreePages();
  const region = regionOf({ path: file, offset: PAGE }, 2 * PAGE);
  const bytes = new Uint8Array(region.buffer);
  expect([region.fileOffset, bytes[0], bytes[PAGE]]).toEqual([PAGE, 2, 3]);
  bytes[1] = 200;
  expect(readFileSync(file)[PAGE + 1]).toBe(200);
});

test.each([
  [0, 4],
  [1, 3],
  [3, 1],
])('a file of 3 pages is too short from page %i for %i pages: no SIGBUS later', (from, count) => {
  writeThreePages();
  const before = openFiles();
  expect(() => regionOf({ path: file, offset: from * PAGE }, count * PAGE)).toThrow(
    expect.objectContaining({
      name: 'RangeError',
      code: 'ERR_OUT_OF_RANGE',
      message: `the file has ${3 * PAGE} bytes, ${4 * PAGE} are needed`,
    }),
  );
  expect(openFiles()).toBe(before);
});

test.each([
  [-PAGE, 'ERR_OUT_OF_RANGE'],
  [1.5, 'ERR_OUT_OF_RANGE'],
  [2 ** 53, 'ERR_OUT_OF_RANGE'],
  [100, 'ERR_INVALID_ARG_VALUE'],
  ['0', 'ERR_INVALID_ARG_TYPE'],
])('an offset of %s in the file is refused', (offset, code) => {
  writeThreePages();
  expect(() => regionOf({ path: file, offset: offset as number })).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining('offset') }),
  );
});

test('a file that is not there is ENOENT, with its path', () => {
  const path = join(folder, 'nothing');
  expect(() => regionOf({ path })).toThrow(
    expect.objectContaining({ code: 'ENOENT', syscall: 'open', path }),
  );
});

test('what cannot be mapped says so, and leaves nothing open', () => {
  const before = openFiles();
  expect(() => regionOf({ path: folder })).toThrow(expect.objectContaining({ code: 'EISDIR' }));
  expect(() => regionOf({ path: '/dev/null' })).toThrow(
    expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
  );
  expect(openFiles()).toBe(before);
});

test('a foreign descriptor is duplicated: it can be closed, and stays open when we close', () => {
  writeThreePages();
  const theirs = openSync(file, 'r+');
  const region = regionOf({ fd: theirs, offset: PAGE });
  expect(region.fd).not.toBe(theirs);
  closeSync(theirs);
  expect(new Uint8Array(region.buffer)[0]).toBe(2);
  const again = openSync(file, 'r+');
  const memory = GuestMemory.create([{ guestAddress: 0n, size: PAGE, backing: { fd: again } }]);
  memory.close();
  expect(fstatSync(again).size).toBe(3 * PAGE);
  closeSync(again);
});

test('a foreign descriptor that is read-only is EACCES from mmap', () => {
  writeThreePages();
  const theirs = openSync(file, 'r');
  expect(() => regionOf({ fd: theirs })).toThrow(
    expect.objectContaining({ code: 'EACCES', errno: -13, syscall: 'mmap' }),
  );
  closeSync(theirs);
});

test('a foreign descriptor that is not open is EBADF', () => {
  expect(() => regionOf({ fd: 1_000_000 })).toThrow(expect.objectContaining({ code: 'EBADF' }));
});

test('two regions over one file are the same bytes', () => {
  writeThreePages();
  const first = regionOf({ path: file });
  const second = regionOf({ fd: first.fd });
  new Uint8Array(first.buffer)[7] = 70;
  expect(new Uint8Array(second.buffer)[7]).toBe(70);
  expect(second.userAddress).not.toBe(first.userAddress);
});

/** What /proc says of the mapping that begins there, undefined where there is none. */
function mappingAt({ userAddress }: MemoryRegion): string | undefined {
  const maps = readFileSync('/proc/self/smaps', 'utf8');
  const start = maps.search(new RegExp(`^${userAddress.toString(16)}-`, 'm'));
  return start < 0 ? undefined : maps.slice(start, maps.indexOf('VmFlags:', start) + 200);
}

test('anonymous memory lies where huge pages may, no child has it, and it costs no descriptor', () => {
  const before = openFiles();
  const region = regionOf('anonymous', 3 * HUGE);
  expect(openFiles()).toBe(before);
  expect(region.userAddress % BigInt(HUGE)).toBe(0n);
  const bytes = new Uint8Array(region.buffer);
  expect([bytes.length, bytes[0], bytes.at(-1), region.fileOffset]).toEqual([3 * HUGE, 0, 0, 0]);
  bytes[bytes.length - 1] = 7;
  expect(bytes.at(-1)).toBe(7);
  const [, flags = ''] = /^VmFlags: (.*)$/m.exec(mappingAt(region) ?? '') ?? [];
  // dc: not copied on a fork. hg: huge pages advised, where the kernel has them.
  expect(flags.split(' ')).toContain('dc');
  if (existsSync('/sys/kernel/mm/transparent_hugepage')) expect(flags.split(' ')).toContain('hg');
});

test('anonymous memory smaller than a huge page has just its own pages', () => {
  const region = regionOf('anonymous', PAGE);
  expect(region.buffer.byteLength).toBe(PAGE);
  expect(/^Size: +(\d+) kB$/m.exec(mappingAt(region) ?? '')?.[1]).toBe(String(PAGE >> 10));
});

test('anonymous memory has no descriptor for a peer, and says what has', () => {
  expect(() => regionOf('anonymous').fd).toThrow(
    expect.objectContaining({
      code: 'ERR_MEMORY_NOT_SHARED',
      hint: "create it with backing 'memfd'",
    }),
  );
});

test('anonymous memory is closed as any other, and unmapped once nobody has a view', async () => {
  const memory = GuestMemory.create([{ guestAddress: 0n, size: HUGE, backing: 'anonymous' }]);
  const [region] = memory.regions as [MemoryRegion];
  memory.close();
  memory.close();
  expect(() => region.buffer).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  expect(() => region.fd).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  await aWhile();
  expect(mappingAt(region)).toBeUndefined();
});

test('huge pages are used where there are free ones, and ENOMEM where there are none', () => {
  const counter = `/sys/kernel/mm/hugepages/hugepages-${HUGE >> 10}kB/free_hugepages`;
  const free = existsSync(counter) ? Number(readFileSync(counter, 'utf8')) : 0;
  const make = () => regionOf({ hugePageSize: HUGE }, HUGE);
  if (free > 0) {
    const { userAddress, buffer } = make();
    new Uint8Array(buffer)[0] = 1;
    const maps = readFileSync('/proc/self/smaps', 'utf8').split(userAddress.toString(16))[1];
    expect(/KernelPageSize:\s*(\d+) kB/.exec(maps ?? '')?.[1]).toBe(String(HUGE >> 10));
  } else {
    const before = openFiles();
    expect(make).toThrow(expect.objectContaining({ code: 'ENOMEM', errno: -12, syscall: 'mmap' }));
    expect(openFiles()).toBe(before);
  }
});

test.each([0, 1, PAGE, 3 << 20, 4 << 20, -HUGE])(
  'huge pages of %i bytes are misuse',
  (hugePageSize) => {
    expect(() => regionOf({ hugePageSize }, HUGE)).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringContaining('hugePageSize'),
      }),
    );
  },
);
