/** The same frames as `c/frames.h`: each of a flow of its own, to a station that is not there. */

import {
  Frame,
  plainOffload,
  type Sendable,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_TCPV4,
} from '../../../lib/index.js';

/** Descriptors of each ring, as in `c/pair.h`: a wake-up of the program costs as much as many frames. */
export const QUEUE_SIZE = 512;
/** Flows of a case's frames. */
export const FLOWS = 256;
/** Bytes from which on a frame is a TCP super-frame, which the kernel segments. */
const SUPER_FRAME = 1515;

/** A frame of `length` bytes of flow `flow`. */
export function makeFrame(length: number, flow: number): Uint8Array {
  const isSuper = length >= SUPER_FRAME;
  const frame = new Uint8Array(length);
  const view = new DataView(frame.buffer);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45]);
  const ip = length - 14;
  frame.set([0x40, 0, 64, isSuper ? 6 : 17, 0, 0, 10, 99, 0, 2, 10, 99, 0, 1], 20);
  view.setUint16(16, ip);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
  sum = (sum & 0xffff) + (sum >> 16);
  view.setUint16(24, ~(sum + (sum >> 16)));
  view.setUint16(34, 1024 + flow);
  view.setUint16(36, 9);
  if (isSuper) view.setUint16(46, 0x5010);
  else view.setUint16(38, ip - 20);
  return frame;
}

/** The same with the header that belongs to it, where it needs one. */
export function makeSendable(length: number, flow: number): Sendable {
  const bytes = makeFrame(length, flow);
  if (length < SUPER_FRAME) return bytes;
  return Frame.from(bytes, {
    ...plainOffload(),
    flags: VIRTIO_NET_HDR_F_NEEDS_CSUM,
    gsoType: VIRTIO_NET_HDR_GSO_TCPV4,
    headerLength: 54,
    gsoSize: 1460,
    checksumStart: 34,
    checksumOffset: 16,
  });
}

/** Batches of `batch` frames that go through all flows in turn. */
export function makeBatches(length: number, batch: number): Sendable[][] {
  const frames = Array.from({ length: FLOWS }, (_, flow) => makeSendable(length, flow));
  return Array.from({ length: Math.ceil(FLOWS / batch) }, (_, i) =>
    frames.slice(i * batch, (i + 1) * batch),
  );
}
