/** What the addon does with arguments that would lead it out of its buffers. */
import { constants } from 'node:os';
import { expect, test } from 'vitest';
import { EventFd } from '../../lib/index.js';
import { native } from '../../lib/native.js';

/** A descriptor of the wrong kind for all of these. */
function withFd<T>(use: (fd: EventFd['handle']) => T): T {
  const event = EventFd.create();
  try {
    return use(event.handle);
  } finally {
    event.close();
  }
}

test.each([65, 2 ** 31, 2 ** 32 - 1])('no room is made for %d words of features', (count) => {
  const result = withFd((fd) => native.vhostGetFeaturesArray(fd, count));
  expect(result).toBe(-constants.errno.E2BIG);
});

test('features of no words at all go to the kernel', () => {
  const result = withFd((fd) => native.vhostSetFeaturesArray(fd, new BigUint64Array(0)));
  expect(result).toBe(-constants.errno.ENOTTY);
});

test.each([0, 3, 5, 4096])('%d bytes are no address', (size) => {
  expect(() => native.addressAdd(0, new Uint8Array(size), 24)).toThrow('expected 4 or 16 bytes');
});

test('lengths of frames are a Uint32Array, which is aligned', () => {
  const lengths = new Uint8Array(new ArrayBuffer(64), 1, 40) as unknown as Uint32Array;
  const slots = new Uint8Array(64);
  withFd((fd) => {
    expect(() => native.packetReceive(fd, slots, 8, lengths)).toThrow('expected a Uint32Array');
    expect(() => native.packetSend(fd, slots, 8, lengths, 8)).toThrow('expected a Uint32Array');
  });
});
