/** What the tests of hostile front-ends have in common: a back end that is up, and what must still work after it all. */
import { expect } from 'vitest';
import type { Frame } from '../../lib/index.js';
import { type DescriptorFields, writeDescriptor } from './descriptor.js';
import { backendOf, FEATURES, FrontEnd, numbered, PROTOCOL, RINGS } from './front-end.js';
import { openFiles } from './leaks.js';
import { le } from './vhost-user.js';

/** How many descriptors this process has open; those only whose file is named so, as `'memfd'` or `'eventfd'`. */
export const openFds = (named = '') =>
  openFiles().filter((file) => named === '' || file.includes(named)).length;

/** A back end that keeps copies of what came, and a front-end that is up. */
export async function up(options: Parameters<typeof backendOf>[0] = {}, features = FEATURES) {
  const made = backendOf(options);
  const frames: { bytes: Uint8Array; offload: Frame['offload'] }[] = [];
  made.backend.on('connect', (device) =>
    device.onFrames((burst) => {
      for (const { bytes, offload } of burst) {
        frames.push({ bytes: bytes.slice(), offload: { ...offload } });
      }
    }),
  );
  const guest = await new FrontEnd(made.backend.path).bringUp(PROTOCOL, features);
  return { ...made, frames, guest };
}

/** Nothing of it is left, and another front-end is served as if nothing had been. */
export async function servesOthers({ backend }: ReturnType<typeof backendOf>): Promise<void> {
  const other = await new FrontEnd(backend.path).bringUp();
  other.post(1);
  expect([...backend.devices].at(-1)?.enqueue([numbered(1)])).toBe(1);
  expect(await other.received(1)).toHaveLength(1);
}

export async function refused(
  guest: FrontEnd,
  ...args: Parameters<FrontEnd['ack']>
): Promise<void> {
  await expect(guest.ack(...args)).rejects.toThrow('refused');
}

/** Writes a descriptor of the ring to send by, or of the other. */
export function writeDescriptorOf(
  guest: FrontEnd,
  index: number,
  fields: DescriptorFields,
  ring: 0 | 1 = 1,
): void {
  writeDescriptor(guest.memory, RINGS[ring], index, fields);
}

/** Offers chains that the driver end would not make. */
export function offer(guest: FrontEnd, ...heads: number[]): void {
  const avail = RINGS[1] + 256n;
  guest.memory.write(
    avail,
    le([2, 0], [2, heads.length], ...heads.map((head) => [2, head] as const)),
  );
  guest.kicks[1].signal();
}
