/** PacketSocket: raw frames of an interface through AF_PACKET, as tcpdump sees them (packet(7)). */
import { checkInteger, StateError } from '../errors.js';
import { type Fd, native, type Poller } from '../native.js';
import { checked, checkedValue, systemError } from '../syscall.js';
import { ETH_P_ALL } from '../uapi/tun.js';
import { Descriptor } from './descriptor.js';
import { NetInterface } from './net-interface.js';
import type { PacketQueue } from './packet-queue.js';

const EAGAIN = -11;
const ENOBUFS = -105;

export interface PacketSocketOptions {
  /** `ETH_P_*`; default all. */
  protocol?: number;
  /**
   * A virtio-net header before every frame: true for 10 bytes, 12 for that of VERSION_1 or MRG_RXBUF
   * (Linux 6.6). Default: false.
   */
  vnetHeader?: boolean | 12;
  /** Do not show frames that this host sends on the interface. Default: false. */
  ignoreOutgoing?: boolean;
  /** Bytes of frames that may wait to be read. */
  receiveBuffer?: number;
}

/**
 * A raw packet socket bound to one interface. vhost-net moves frames to and from it, too: then set
 * `ignoreOutgoing`, or the guest receives what the host sends.
 */
export class PacketSocket extends Descriptor implements PacketQueue {
  readonly kind = 'packet socket';
  readonly layer = 2;
  readonly headerLength: number;
  #poller: Poller | undefined;
  readonly #name: string;

  private constructor(fd: Fd, name: string, headerLength: number) {
    super(fd, `packet socket ${name}`);
    this.#name = name;
    this.headerLength = headerLength;
  }

  /**
   * Throws `EPERM` without CAP_NET_RAW, `ENODEV`, `ENOPROTOOPT` for a header of 12 bytes before Linux
   * 6.6.
   */
  static open(interfaceName: string, options: PacketSocketOptions = {}): PacketSocket {
    const { index } = new NetInterface(interfaceName);
    const fd = checkedValue<Fd>(native.packetOpen(), 'socket(AF_PACKET)', interfaceName);
    const set = (option: string, result: number) =>
      checked(result, `setsockopt(${option})`, interfaceName);
    try {
      const headerLength = options.vnetHeader === true ? 10 : options.vnetHeader || 0;
      if (headerLength === 10) set('PACKET_VNET_HDR', native.packetSetVnetHdr(fd, 1));
      else if (headerLength !== 0) {
        set('PACKET_VNET_HDR_SZ', native.packetSetVnetHdrSize(fd, headerLength));
      }
      if (options.ignoreOutgoing) {
        set('PACKET_IGNORE_OUTGOING', native.packetIgnoreOutgoing(fd, 1));
      }
      if (options.receiveBuffer !== undefined) {
        checkInteger('receiveBuffer', options.receiveBuffer, 1, 0x7fff_ffff);
        set('SO_RCVBUF', native.packetSetReceiveBuffer(fd, options.receiveBuffer));
      }
      const protocol = options.protocol ?? ETH_P_ALL;
      checked(native.packetBind(fd, index, protocol), 'bind(AF_PACKET)', interfaceName);
      return new PacketSocket(fd, interfaceName, headerLength);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** The interface that it was bound to, by the name of then. */
  get interface(): NetInterface {
    return new NetInterface(this.#name);
  }

  headerCure(bytes: number): string {
    return `set vnetHeader: ${bytes === 0 ? 'false' : bytes === 10 ? 'true' : bytes}`;
  }

  /** Nothing: a socket's send buffer has a limit, so vhost sends frame by frame. */
  avoidBatches(): void {}

  /**
   * Fills up to 64 slots of `slotSize` bytes in `buffer` with a frame each, and `lengths` with the
   * frames' true lengths in bytes (a longer frame is cut to its slot). Returns the number of frames,
   * 0 when none waits. Throws `ENETDOWN`, `ENODEV`.
   */
  receive(buffer: Uint8Array, slotSize: number, lengths: Uint32Array): number {
    const result = native.packetReceive(this.handle, buffer, slotSize, lengths);
    if (result >= 0) return result;
    if (result === EAGAIN) return 0;
    throw systemError(result, 'recvmmsg(AF_PACKET)');
  }

  /**
   * Sends the first `count` slots of `buffer`, at most 64, of `lengths[i]` bytes each. Returns how
   * many went out, 0 where the socket's or the interface's queue is full. Throws `EMSGSIZE`,
   * `ENETDOWN`, `ENXIO`.
   */
  send(buffer: Uint8Array, slotSize: number, lengths: Uint32Array, count: number): number {
    const result = native.packetSend(this.handle, buffer, slotSize, lengths, count);
    if (result >= 0) return result;
    if (result === EAGAIN || result === ENOBUFS) return 0;
    throw systemError(result, 'sendmmsg(AF_PACKET)');
  }

  /** Frames seen and dropped since the last call. */
  statistics(): { received: number; dropped: number } {
    return checkedValue(native.packetStatistics(this.handle), 'getsockopt(PACKET_STATISTICS)');
  }

  /** Calls `listener` while frames wait, until `close()`. Keeps the process alive. */
  onReadable(listener: () => void): void {
    if (this.#poller) throw new StateError('ERR_BUSY', 'the socket has a listener already');
    const poller = new native.Poller(this.handle, false, listener);
    checked(poller.error, 'uv_poll_start');
    this.#poller = poller;
  }

  override close(): void {
    this.#poller?.close();
    this.#poller = undefined;
    super.close();
  }
}
