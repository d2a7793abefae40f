/** The tables that a processor in 64-bit mode has at its start: page tables and segments. */
import type { GuestMemory } from '../../../lib/index.js';
import { LAYOUT } from './layout.js';

/** What a processor begins with. */
export interface LongModeStart {
  entry: bigint;
  /** In RSI: where Linux looks for its boot parameters. */
  argument: bigint;
  pageTables: bigint;
  gdt: bigint;
}

const PAGE = 4096;
const ENTRIES = 512;
const PRESENT_WRITABLE = 3n;
const LARGE_PAGE = 0x80n;
const LARGE_PAGE_BYTES = 2n << 20n;
/** Each directory maps one of these GiB to itself. */
const GIGABYTES = 4;

/** Two unused ones, then code (64-bit) and data, flat, at the selectors that Linux expects. */
const DESCRIPTORS = BigUint64Array.of(0n, 0n, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn);

export function writeLongModeTables(memory: GuestMemory): void {
  const top = BigInt(LAYOUT.pageTables);
  const pointers = top + BigInt(PAGE);
  const directories = pointers + BigInt(PAGE);
  const tables = new BigUint64Array((2 + GIGABYTES) * ENTRIES);
  tables[0] = pointers | PRESENT_WRITABLE;
  for (let gigabyte = 0; gigabyte < GIGABYTES; gigabyte++) {
    tables[ENTRIES + gigabyte] = (directories + BigInt(gigabyte * PAGE)) | PRESENT_WRITABLE;
  }
  for (let page = 0; page < GIGABYTES * ENTRIES; page++) {
    tables[2 * ENTRIES + page] = (BigInt(page) * LARGE_PAGE_BYTES) | LARGE_PAGE | PRESENT_WRITABLE;
  }
  memory.write(top, new Uint8Array(tables.buffer));
  memory.write(BigInt(LAYOUT.gdt), new Uint8Array(DESCRIPTORS.buffer));
}
