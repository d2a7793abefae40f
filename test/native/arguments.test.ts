/** What the addon does with arguments that would lead it out of its buffers. */
import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
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

describe('frames for many system calls', () => {
  const vectors = new Uint32Array(8);
  const results = new Int32Array(2);

  test('are arrays of words, which are aligned', () => {
    const bytes = new Uint8Array(new ArrayBuffer(64), 1, 40) as unknown as Uint32Array;
    const odd = new Uint32Array(new ArrayBuffer(64), 4, 8);
    withFd((fd) => {
      for (const call of [native.framesRead, native.framesWrite]) {
        expect(() => call(fd, bytes, Uint32Array.of(1), results, 0, 1)).toThrow('32-bit words');
        expect(() => call(fd, vectors, bytes, results, 0, 1)).toThrow('32-bit words');
        expect(() => call(fd, odd, Uint32Array.of(1), results, 0, 1)).toThrow('on 8 bytes');
      }
    });
  });

  test('have vectors that are there', () => {
    const uring = new native.IoUring(4);
    withFd((fd) => {
      for (const ends of [[3], [1, 0], [2, 3], [2 ** 32 - 1]]) {
        for (const call of [native.framesRead, native.framesWrite]) {
          expect(() => call(fd, vectors, Uint32Array.from(ends), results, 0, 2)).toThrow(
            'not there',
          );
        }
        expect(() => uring.write(fd, vectors, Uint32Array.from(ends), results, 0, 2)).toThrow(
          'not there',
        );
      }
      expect(native.framesWrite(fd, vectors, Uint32Array.of(1), results, 5, 9)).toBe(0);
    });
    uring.close();
  });

  test('at an address of nothing fail, each alone, and an io_uring that was closed fails at once', () => {
    const uring = new native.IoUring(4);
    const two = Uint32Array.from([0, 0, 8, 0, 0, 0, 8, 0]);
    withFd((fd) => {
      expect(native.framesWrite(fd, two, Uint32Array.of(1, 2), results, 0, 2)).toBe(1);
      expect(results[0]).toBe(-constants.errno.EFAULT);
      results.fill(0);
      if (uring.error === 0) {
        expect(uring.write(fd, two, Uint32Array.of(1, 2), results, 0, 2)).toBe(2);
        expect([...results]).toEqual(new Array(2).fill(-constants.errno.EFAULT));
      }
      uring.close();
      uring.close();
      expect(uring.write(fd, two, Uint32Array.of(1, 2), results, 0, 2)).toBe(
        -constants.errno.EBADF,
      );
    });
  });
});
