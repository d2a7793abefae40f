/** Frames that go through a bridge between two ports, told from the host's own by their addresses. */
import type { NetPort, Offload } from '../../lib/index.js';
import { until } from './host.js';

/** Destination and source of what {@link collectOurs} collects. */
export const OUR_MACS: [number[], number[]] = [
  [2, 0, 0, 0, 0x88, 1],
  [2, 0, 0, 0, 0x88, 2],
];

export interface Received {
  bytes: Uint8Array;
  offload: Offload;
}

/** Collects copies of the frames of ours that come; what it returns waits for the next `count`. */
export function collectOurs(port: NetPort): (count: number) => Promise<Received[]> {
  const received: Received[] = [];
  port.onFrames((frames) => {
    for (const { bytes, offload } of frames) {
      const ours = bytes[4] === OUR_MACS[0][4] && bytes[5] === OUR_MACS[0][5];
      if (ours) received.push({ bytes: bytes.slice(), offload: { ...offload } });
    }
  });
  return async (count) => {
    await until(() => received.length >= count, `${count} frames come`);
    return received.splice(0);
  };
}

/** Throws unless the frames are these, and says which is not, and where; faster than a deep equality. */
export function expectFrames(
  received: readonly Received[],
  frames: readonly Uint8Array[],
  what = '',
): void {
  if (received.length !== frames.length) {
    throw new Error(`${what}: ${received.length} frames came, not ${frames.length}`);
  }
  for (const [i, { bytes }] of received.entries()) {
    const frame = frames[i] as Uint8Array;
    if (Buffer.compare(bytes, frame) === 0) continue;
    const at = frame.findIndex((byte, n) => byte !== bytes[n]);
    throw new Error(
      `${what}: frame ${i} of ${bytes.length} bytes (not ${frame.length}) differs at ${at}: ${bytes[at]}, not ${frame[at]}`,
    );
  }
}
