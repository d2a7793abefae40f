/** Segmenter: cuts a super-frame into the frames that a link, or a peer without TSO, takes. */
import { IPPROTO_TCP, IPPROTO_UDP } from '../uapi/ip.js';
import {
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM,
  VIRTIO_NET_HDR_GSO_ECN,
  VIRTIO_NET_HDR_GSO_NONE,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6,
  VIRTIO_NET_HDR_GSO_UDP,
  VIRTIO_NET_HDR_GSO_UDP_L4,
  VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4,
  VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6,
} from '../uapi/virtio-net.js';
import {
  addWords,
  checksumOf,
  completeChecksum,
  copyAddingWords,
  offloadError,
  transportChecksumOf,
} from './checksum.js';
import { copyOffload, type Offload, plainOffload } from './header.js';
import { read16, word32, write16, write32 } from './network-order.js';
import { emptyLayout, IPV6_HLEN, locate, locateInner, type PacketLayout } from './packet-layout.js';
import { SegmentBuffer } from './segment-buffer.js';
import { checksumOffsetOf, payloadOffset, TCP_CWR, TCP_FIN_PSH, TCP_FLAGS } from './transport.js';

/**
 * Segments of one frame at most: the smallest that Linux's TCP makes carry 48 bytes, and a header that
 * asks for single bytes must not turn one frame into 65,000.
 */
const MAX_SEGMENTS = 2048;
/** Bytes of all of them, headers included: long headers on small segments would make a frame 500 times larger. */
const MAX_BYTES = 1 << 20;
const TUNNEL_TYPES = VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 | VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6;

/**
 * Does in software what the header of a frame asks for (virtio 1.3 §5.1.6.2): TSO over IPv4 and IPv6,
 * USO, both also in a UDP tunnel, and the checksum of a frame that is not to be cut. Its memory and its
 * views are used again, so that nothing is allocated for frames like those before.
 */
export class Segmenter {
  readonly #segments = new SegmentBuffer();
  readonly #plain: Uint8Array[] = [];
  /** Of what is cut; in a tunnel, of the packet in it. */
  readonly #layout = emptyLayout();
  readonly #outer = emptyLayout();
  readonly #offload = plainOffload();

  /**
   * The frames that `bytes` and `offload` mean, in order, with all their checksums; `bytes` and
   * `offload` stay as they are. What needs nothing is `bytes` itself, all else a view that the next
   * call overwrites. TCP's sequence numbers go on, FIN and PSH are on the last segment alone, CWR on the
   * first; IPv4's identification counts up.
   *
   * Throws `ERR_FRAME_OFFLOAD`, a `RangeError`, where header and frame contradict each other or the
   * frame is damaged, for more than 2048 segments or 1 MiB of them, and for UDP fragmentation
   * (`VIRTIO_NET_HDR_GSO_UDP`), which no kernel since 4.14 asks for.
   */
  segment(bytes: Uint8Array, offload: Offload): readonly Uint8Array[] {
    const { gsoType, gsoSize } = offload;
    if (gsoType === VIRTIO_NET_HDR_GSO_NONE) return this.#whole(bytes, offload);
    const layout = this.#layout;
    const tunnel = (gsoType & TUNNEL_TYPES) !== 0;
    if (tunnel) this.#enter(bytes, offload);
    else locate(bytes, bytes.length, layout);
    const payload = payloadOffset(bytes, layout);
    checkHeader(layout, offload);
    const { end } = layout;
    const count = Math.max(1, Math.ceil((end - payload) / gsoSize));
    if (count > MAX_SEGMENTS) throw offloadError(`it makes more than ${MAX_SEGMENTS} segments`);
    if (count * (payload + gsoSize) > MAX_BYTES) {
      throw offloadError(`its segments have more than ${MAX_BYTES} bytes together`);
    }
    const last = end - (count - 1) * gsoSize;
    const frames = this.#segments.take(count, payload + gsoSize, last);
    for (let i = 0; i < count; i++) {
      const from = payload + i * gsoSize;
      const frame = frames[i] as Uint8Array;
      copyAddingWords(bytes, 0, payload, frame, 0);
      const sum = copyAddingWords(bytes, from, Math.min(from + gsoSize, end), frame, payload);
      numberPacket(frame, layout, i);
      if (layout.protocol === IPPROTO_TCP) {
        numberTcp(frame, layout.transport, i, i === count - 1, i * gsoSize);
      }
      seal(frame, layout, payload, sum);
      if (tunnel) this.#wrap(frame, i, offload);
    }
    return frames;
  }

  /** Reads the headers of a tunnel, and of the packet in it. */
  #enter(bytes: Uint8Array, offload: Offload): void {
    const outer = this.#outer;
    locate(bytes, bytes.length, outer);
    const least = payloadOffset(bytes, outer);
    const version =
      outer.version === 4 ? VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 : VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6;
    if ((offload.gsoType & TUNNEL_TYPES) !== version || outer.protocol !== IPPROTO_UDP) {
      throw offloadError('it is not in the tunnel that its type says');
    }
    // A VLAN tag, which the kernel puts in at last, is not counted in these two.
    const network = offload.innerNetwork + outer.transport - offload.outerTransport;
    if (network < least) throw offloadError('its inner header lies before its tunnel');
    locateInner(bytes, network, outer.end, this.#layout);
  }

  /** Numbers the tunnel around a segment that is finished. */
  #wrap(frame: Uint8Array, index: number, offload: Offload): void {
    const outer = this.#outer;
    numberPacket(frame, outer, index);
    if ((offload.flags & VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM) === 0) return;
    seal(frame, outer, frame.length, 0);
  }

  #whole(bytes: Uint8Array, offload: Offload): readonly Uint8Array[] {
    if ((offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) === 0) {
      this.#plain[0] = bytes;
      return this.#plain;
    }
    const frames = this.#segments.take(1, bytes.length, bytes.length);
    const frame = frames[0] as Uint8Array;
    frame.set(bytes);
    copyOffload(offload, this.#offload);
    completeChecksum(frame, this.#offload);
    return frames;
  }
}

/** Holds that the header asks for what the packet is. */
function checkHeader(layout: PacketLayout, offload: Offload): void {
  const { transport, protocol, version } = layout;
  const type = offload.gsoType & ~(VIRTIO_NET_HDR_GSO_ECN | TUNNEL_TYPES);
  if (type === VIRTIO_NET_HDR_GSO_UDP) {
    throw offloadError('UDP fragmentation is not done; segmentation (USO) is');
  }
  const tcp = version === 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
  const own = protocol === IPPROTO_TCP ? tcp : VIRTIO_NET_HDR_GSO_UDP_L4;
  if (type !== own) {
    const name = protocol === IPPROTO_TCP ? 'TCP' : 'UDP';
    throw offloadError(`type ${type} is not how ${name} over IPv${version} is cut`);
  }
  if (offload.gsoSize === 0) throw offloadError('its segments would be empty');
  const partial = (offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) !== 0;
  const { checksumStart, checksumOffset } = offload;
  if (!partial || checksumStart !== transport || checksumOffset !== checksumOffsetOf(protocol)) {
    throw offloadError('it is to be segmented, and its checksum is not where it belongs');
  }
}

/** What differs between packets of IP, and of UDP: identification, lengths, the IPv4 checksum. */
function numberPacket(frame: Uint8Array, layout: PacketLayout, index: number): void {
  const { version, network, transport } = layout;
  if (version === 4) {
    write16(frame, network + 2, frame.length - network);
    write16(frame, network + 4, read16(frame, network + 4) + index);
    write16(frame, network + 10, 0);
    const end = network + ((frame[network] as number) & 0x0f) * 4;
    write16(frame, network + 10, checksumOf(addWords(frame, network, end, 0)));
  } else {
    write16(frame, network + 4, frame.length - network - IPV6_HLEN);
  }
  if (layout.protocol === IPPROTO_UDP) write16(frame, transport + 4, frame.length - transport);
}

/** What differs between segments of TCP: sequence number, flags. */
function numberTcp(
  frame: Uint8Array,
  transport: number,
  index: number,
  last: boolean,
  offset: number,
): void {
  write32(frame, transport + 4, word32(frame, transport + 4) + offset);
  let flags = frame[transport + TCP_FLAGS] as number;
  if (!last) flags &= ~TCP_FIN_PSH;
  if (index > 0) flags &= ~TCP_CWR;
  frame[transport + TCP_FLAGS] = flags;
}

/**
 * The transport's checksum, over its bytes up to `to` and the sum of the rest: the pseudo-header's sum is
 * stored, for the length of the whole.
 */
function seal(frame: Uint8Array, layout: PacketLayout, to: number, restSum: number): void {
  const { transport, protocol, end } = layout;
  const at = transport + checksumOffsetOf(protocol);
  // Subtraction in ones' complement is the addition of the complement.
  const pseudo = read16(frame, at) + (~(end - transport) & 0xffff) + frame.length - transport;
  write16(frame, at, 0);
  write16(frame, at, transportChecksumOf(addWords(frame, transport, to, pseudo + restSum)));
}
