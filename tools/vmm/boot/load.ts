/** Puts Linux into memory as its 64-bit boot protocol wants it (`Documentation/arch/x86/boot.rst`). */
import type { GuestMemory } from '../../../lib/index.js';
import { type KernelImage, readKernel } from './kernel-image.js';
import { LAYOUT } from './layout.js';
import { type LongModeStart, writeLongModeTables } from './long-mode.js';

export interface LinuxOptions {
  kernel: Buffer;
  initrd?: Buffer | undefined;
  commandLine: string;
  /** Where the tables of ACPI begin. */
  acpi: number;
}

const PAGE = 4096;
/** Of `struct boot_params`. */
const ACPI_RSDP = 0x070;
const E820_ENTRIES = 0x1e8;
const SETUP_HEADER = 0x1f1;
const BOOT_FLAG = 0x1fe;
const HEADER_MAGIC = 0x202;
const LOADER_TYPE = 0x210;
const INITRD_ADDRESS = 0x218;
const INITRD_SIZE = 0x21c;
const COMMAND_LINE = 0x228;
const KERNEL_ALIGNMENT = 0x230;
const E820_TABLE = 0x2d0;
const E820_ENTRY = 20;
const E820_RAM = 1;
const E820_RESERVED = 2;
const UNDEFINED_LOADER = 0xff;

/** Returns how the first processor begins. Throws `Error` where something has no room. */
export function loadLinux(memory: GuestMemory, options: LinuxOptions): LongModeStart {
  const { initrd, commandLine, acpi } = options;
  const kernel = readKernel(options.kernel);
  const lowEnd = Number(memory.regions[0]?.size ?? 0);
  if (kernel.end > BigInt(lowEnd)) {
    throw new Error(`the kernel needs ${toMib(Number(kernel.end))} MiB of memory to start`);
  }
  if (Buffer.byteLength(commandLine) > kernel.commandLineSize) {
    throw new Error(`the kernel takes a command line of ${kernel.commandLineSize} bytes at most`);
  }
  for (const { address, bytes } of kernel.segments) memory.write(address, bytes);
  const params = Buffer.alloc(PAGE);
  params.set(kernel.setupHeader ?? [], SETUP_HEADER);
  params.writeUInt16LE(0xaa55, BOOT_FLAG);
  params.write('HdrS', HEADER_MAGIC, 'latin1');
  params[LOADER_TYPE] = UNDEFINED_LOADER;
  if (!kernel.setupHeader) params.writeUInt32LE(2 << 20, KERNEL_ALIGNMENT);
  if (initrd) {
    params.writeUInt32LE(placeInitrd(memory, initrd, kernel, lowEnd), INITRD_ADDRESS);
    params.writeUInt32LE(initrd.length, INITRD_SIZE);
  }
  memory.write(BigInt(LAYOUT.commandLine), Buffer.from(`${commandLine}\0`));
  params.writeUInt32LE(LAYOUT.commandLine, COMMAND_LINE);
  params.writeBigUInt64LE(BigInt(acpi), ACPI_RSDP);
  writeMemoryMap(params, memory);
  memory.write(BigInt(LAYOUT.bootParams), params);
  writeLongModeTables(memory);
  return {
    entry: kernel.entry,
    argument: BigInt(LAYOUT.bootParams),
    pageTables: BigInt(LAYOUT.pageTables),
    gdt: BigInt(LAYOUT.gdt),
  };
}

/** As high as it may lie. Returns its address. */
function placeInitrd(
  memory: GuestMemory,
  initrd: Buffer,
  { initrdMax, end }: KernelImage,
  lowEnd: number,
): number {
  const top = Math.min(lowEnd, initrdMax + 1);
  const address = Math.floor((top - initrd.length) / PAGE) * PAGE;
  if (BigInt(address) < end) {
    throw new Error(`kernel and initrd need ${toMib(Number(end) + initrd.length)} MiB of memory`);
  }
  memory.write(BigInt(address), initrd);
  return address;
}

/** Which addresses are memory, as firmware would tell. */
function writeMemoryMap(params: Buffer, memory: GuestMemory): void {
  const entries: [start: number, end: number, type: number][] = [
    [0, LAYOUT.lowMemoryEnd, E820_RAM],
    [LAYOUT.acpi, LAYOUT.highMemory, E820_RESERVED],
  ];
  for (const { guestAddress, size } of memory.regions) {
    const start = Math.max(Number(guestAddress), LAYOUT.highMemory);
    entries.push([start, Number(guestAddress) + size, E820_RAM]);
  }
  params[E820_ENTRIES] = entries.length;
  for (const [i, [start, end, type]] of entries.entries()) {
    const at = E820_TABLE + i * E820_ENTRY;
    params.writeBigUInt64LE(BigInt(start), at);
    params.writeBigUInt64LE(BigInt(end - start), at + 8);
    params.writeUInt32LE(type, at + 16);
  }
}

function toMib(bytes: number): number {
  return Math.ceil(bytes / (1 << 20));
}
