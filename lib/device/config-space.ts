/** The configuration space of a network card, `struct virtio_net_config` (virtio 1.3 §5.1.4). */
import { checkInteger } from '../errors.js';

/** Bytes: up to and with `duplex`, the last field that anything here offers. */
export const NET_CONFIG_SIZE = 17;

const MAC_AT = 0;
const STATUS_AT = 6;
const MAX_PAIRS_AT = 8;
const MTU_AT = 10;
const SPEED_AT = 12;
const DUPLEX_AT = 16;

/** Not known, as the driver is told (`linux/ethtool.h`). */
export const SPEED_UNKNOWN = 0xffff_ffff;
export const DUPLEX_UNKNOWN = 0xff;
/** What §5.1.4.1 allows. */
const MTU_LEAST = 68;
const MTU_MOST = 65_535;
const SPEED_MOST = 0x7fff_ffff;

export class ConfigSpace {
  /** Called after each change; a transport's. */
  onChange: (() => void) | undefined;
  /** As it is read, little-endian. */
  readonly #bytes = new Uint8Array(NET_CONFIG_SIZE);
  readonly #view = new DataView(this.#bytes.buffer);
  #generation = 0;
  /** Whether a field, or the number, was read since that last changed. */
  #seen = false;

  constructor() {
    this.speed = SPEED_UNKNOWN;
    this.duplex = DUPLEX_UNKNOWN;
  }

  /**
   * Another number after a change, 0 to 255: a driver that reads fields in two accesses compares it. Changes that
   * nobody read between count as one, or 256 of them would look like none.
   */
  get generation(): number {
    this.#seen = true;
    return this.#generation;
  }

  set generation(generation: number) {
    this.#generation = generation;
    // By the driver, of the card that had it before.
    this.#seen = true;
    this.onChange?.();
  }

  get mac(): Uint8Array {
    return this.#bytes.slice(MAC_AT, MAC_AT + 6);
  }

  set mac(mac: Uint8Array) {
    this.#bytes.set(mac, MAC_AT);
    this.#changed();
  }

  /** `VIRTIO_NET_S_*`. */
  get status(): number {
    return this.#view.getUint16(STATUS_AT, true);
  }

  set status(status: number) {
    this.#set16(STATUS_AT, status);
  }

  set maxQueuePairs(count: number) {
    this.#set16(MAX_PAIRS_AT, count);
  }

  /** 68 to 65535. Throws `ERR_OUT_OF_RANGE`. */
  set mtu(bytes: number) {
    this.#set16(MTU_AT, checkInteger('mtu', bytes, MTU_LEAST, MTU_MOST));
  }

  /** Megabits per second, to 2^31 - 1, or 2^32 - 1 where it is not known. Throws `ERR_OUT_OF_RANGE`. */
  set speed(speed: number) {
    if (speed !== SPEED_UNKNOWN) checkInteger('speed', speed, 0, SPEED_MOST);
    this.#view.setUint32(SPEED_AT, speed, true);
    this.#changed();
  }

  /** 0 half, 1 full. */
  set duplex(duplex: number) {
    this.#bytes[DUPLEX_AT] = duplex;
    this.#changed();
  }

  /** Bytes from `offset` on; zeroes behind the end. */
  read(offset: number, length: number): Uint8Array {
    this.#seen = true;
    const bytes = new Uint8Array(length);
    if (offset < NET_CONFIG_SIZE) bytes.set(this.#bytes.subarray(offset, offset + length));
    return bytes;
  }

  #set16(at: number, value: number): void {
    this.#view.setUint16(at, value, true);
    this.#changed();
  }

  #changed(): void {
    if (this.#seen) this.#generation = (this.#generation + 1) & 0xff;
    this.#seen = false;
    this.onChange?.();
  }
}
