/** Unpacks kernel images and modules on the host, which is far faster than in the emulated guest. */
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { run } from './process.js';

const MAGIC = { xz: 'fd377a585a00', zstd: '28b52ffd', lz4: '02214c18', gzip: '1f8b' };

/** `data` without its compression, or as it is if it has none we know. */
export async function decompress(data: Buffer): Promise<Buffer> {
  const starts = (magic: string) => data.subarray(0, magic.length / 2).toString('hex') === magic;
  if (starts(MAGIC.xz)) return run('xz', ['-dc', '--single-stream'], { input: data });
  if (starts(MAGIC.zstd)) return run('zstd', ['-dc'], { input: data });
  if (starts(MAGIC.lz4)) return run('lz4', ['-dc'], { input: data });
  if (starts(MAGIC.gzip)) return gunzipSync(data);
  return data;
}

const isElf = (data: Buffer) => data.subarray(0, 4).toString('latin1') === '\x7fELF';

/**
 * The ELF kernel inside a bzImage, which QEMU starts at its PVH entry, or undefined if there is
 * none that we can unpack. Offsets are those of the kernel's `Documentation/arch/x86/boot.rst`.
 */
export async function extractElf(image: Buffer): Promise<Buffer | undefined> {
  if (isElf(image)) return image;
  if (image.subarray(0x202, 0x206).toString('latin1') !== 'HdrS') return undefined;
  const setupSectors = image[0x1f1] || 4;
  const payload = (setupSectors + 1) * 512 + image.readUInt32LE(0x248);
  const length = image.readUInt32LE(0x24c);
  // The last four bytes are the unpacked size, added by the kernel's build.
  const packed = image.subarray(payload, payload + length - 4);
  const unpacked = await decompress(packed).catch(() => undefined);
  return unpacked && isElf(unpacked) ? unpacked : undefined;
}

const SIGNATURE_END = '~Module signature appended~\n';
/** Bytes of `struct module_signature`, whose last four are the length of what precedes it. */
const SIGNATURE_HEADER = 12;

/** A module as the guest inserts it: checking its signature takes an emulated processor longer. */
export async function readModule(path: string): Promise<Buffer> {
  const module = await decompress(await readFile(path));
  const end = module.length - SIGNATURE_END.length;
  if (module.subarray(end).toString('latin1') !== SIGNATURE_END) return module;
  return module.subarray(0, end - SIGNATURE_HEADER - module.readUInt32BE(end - 4));
}
