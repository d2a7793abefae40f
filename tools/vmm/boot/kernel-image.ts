/** Kernel images: a bzImage as distributions ship it, or the ELF file `vmlinux` that it unpacks. */

/** What goes into memory, and where the processor begins. */
export interface KernelImage {
  segments: { address: bigint; bytes: Uint8Array }[];
  entry: bigint;
  /** Where the kernel's own memory ends, with what it clears as it starts. */
  end: bigint;
  /** The bzImage's setup header, from 0x1f1 on, for the boot parameters. */
  setupHeader?: Uint8Array;
  /** The last byte that an initrd may have. */
  initrdMax: number;
  /** Bytes of the command line at most. */
  commandLineSize: number;
}

/** Throws `Error` for anything else, saying what. */
export function readKernel(image: Buffer): KernelImage {
  if (image.toString('latin1', 0x202, 0x206) === 'HdrS') return readBzImage(image);
  if (image.toString('latin1', 0, 4) === '\x7fELF') return readElf(image);
  throw new Error('not a kernel: neither a bzImage nor an ELF file');
}

/** Offsets and bits are those of the kernel's `Documentation/arch/x86/boot.rst`. */
const SETUP_SECTORS = 0x1f1;
const PROTOCOL = 0x206;
const HEADER_END = 0x201;
const INITRD_MAX = 0x22c;
const XLOADFLAGS = 0x236;
const COMMAND_LINE_SIZE = 0x238;
const PREFERRED_ADDRESS = 0x258;
const INIT_SIZE = 0x260;
const KERNEL_64 = 1;
const OLDEST_PROTOCOL = 0x20c;
const SECTOR = 512;
/** Where 64-bit code begins, from the start of the protected-mode part. */
const ENTRY_64 = 0x200n;

function readBzImage(image: Buffer): KernelImage {
  const protocol = image.readUInt16LE(PROTOCOL);
  if (protocol < OLDEST_PROTOCOL || !(image.readUInt16LE(XLOADFLAGS) & KERNEL_64)) {
    throw new Error('this kernel has no 64-bit entry; it needs boot protocol 2.12');
  }
  const setup = ((image[SETUP_SECTORS] || 4) + 1) * SECTOR;
  const address = image.readBigUInt64LE(PREFERRED_ADDRESS);
  return {
    segments: [{ address, bytes: image.subarray(setup) }],
    entry: address + ENTRY_64,
    end: address + BigInt(image.readUInt32LE(INIT_SIZE)),
    setupHeader: image.subarray(SETUP_SECTORS, 0x202 + (image[HEADER_END] as number)),
    initrdMax: image.readUInt32LE(INITRD_MAX),
    commandLineSize: image.readUInt32LE(COMMAND_LINE_SIZE),
  };
}

const ELF_X86_64 = 62;
const PT_LOAD = 1;

function readElf(image: Buffer): KernelImage {
  if (image[4] !== 2 || image.readUInt16LE(18) !== ELF_X86_64) {
    throw new Error('this kernel is not for 64-bit x86');
  }
  const [at, size] = [Number(image.readBigUInt64LE(32)), image.readUInt16LE(54)];
  const segments: KernelImage['segments'] = [];
  let end = 0n;
  for (let i = 0; i < image.readUInt16LE(56); i++) {
    const header = image.subarray(at + i * size, at + (i + 1) * size);
    if (header.readUInt32LE(0) !== PT_LOAD) continue;
    const offset = Number(header.readBigUInt64LE(8));
    const address = header.readBigUInt64LE(24);
    const bytes = image.subarray(offset, offset + Number(header.readBigUInt64LE(32)));
    segments.push({ address, bytes });
    const last = address + header.readBigUInt64LE(40);
    if (last > end) end = last;
  }
  return {
    ...{ segments, entry: image.readBigUInt64LE(24), end },
    // What every kernel has that has a 64-bit entry.
    ...{ initrdMax: 0x7fff_ffff, commandLineSize: 2047 },
  };
}
