/** What a configuration may ask of a backend, and what a queue must be like for the features that its rings have. */
import { StateError, valueError } from '../errors.js';
import type { PacketQueue } from '../host/packet-queue.js';
import { headerLengthOf } from '../net/header.js';
import { VHOST_NET_F_VIRTIO_NET_HDR } from '../uapi/vhost.js';
import { hasBit } from '../uapi/virtio-net.js';

/** Throws `ERR_INVALID_ARG_VALUE` for no queue pair, or more than the backend has. */
export function checkPairCount(count: number, most: number): void {
  if (count >= 1 && count <= most) return;
  throw valueError(`the backend has ${most} queue pairs, ${count} are configured`);
}

/**
 * The kernel checks nothing here: with a queue whose header has another length than the rings', every
 * frame would be shifted by the difference. Throws `ERR_HEADER_LENGTH`.
 */
export function checkHeader(features: bigint, queue: PacketQueue): void {
  const length = headerLengthOf(features);
  const { headerLength, kind } = queue;
  const supplied = hasBit(features, VHOST_NET_F_VIRTIO_NET_HDR);
  if (headerLength === (supplied ? 0 : length)) return;
  const { name } = queue.interface;
  if (supplied) {
    throw new StateError(
      'ERR_HEADER_LENGTH',
      `with VHOST_NET_F_VIRTIO_NET_HDR vhost supplies the header, but ${name} has one too`,
      `${queue.headerCure(0)} on the ${kind}, or leave the feature out`,
    );
  }
  if (headerLength === 0) {
    throw new StateError(
      'ERR_HEADER_LENGTH',
      `the rings have a header of ${length} bytes, but ${name} has none`,
      `${queue.headerCure(length)} on the ${kind}, or ask for VHOST_NET_F_VIRTIO_NET_HDR`,
    );
  }
  throw new StateError(
    'ERR_HEADER_LENGTH',
    `the features mean a header of ${length} bytes, but ${name} has one of ${headerLength}`,
    `${queue.headerCure(length)} on the ${kind}`,
  );
}

/**
 * vhost sends in batches where the queue's send buffer has no limit, and a batch is no good for two
 * kinds of frames. On 6.1 it reads the header of a frame that comes without one from left-over bytes:
 * frames are lost, or the transmit ring stops for good. And on every kernel it takes the first 14 bytes
 * for an Ethernet header.
 */
export function limitBatches(features: bigint, queue: PacketQueue): void {
  if (hasBit(features, VHOST_NET_F_VIRTIO_NET_HDR) || queue.layer === 3) queue.avoidBatches();
}
