/**
 * A vhost-user back end whose devices are on TAPs, a queue pair on each. A frame leaves the TAP's queue for a guest
 * that is there to have it, and for no other: so what nobody serves waits there, as with vhost-net.
 */
import { readSync, writevSync } from 'node:fs';
import { duplicate } from '../../lib/host/descriptor.js';
import {
  type Frame,
  type Tap,
  VhostUserBackend,
  type VhostUserDevice,
  VIRTIO_CONFIG_S_DRIVER_OK,
} from '../../lib/index.js';
import { type Fd, native, type Poller } from '../../lib/native.js';

/** Bytes of the longest frame with the longest header. */
const LONGEST = 65_600;

/** Listens on `path`. The TAPs stay the caller's: close the back end first. */
export function serveTaps(path: string, taps: readonly Tap[]): VhostUserBackend {
  const server = VhostUserBackend.listen({ path, queuePairs: taps.length });
  const ends = new Map<VhostUserDevice, readonly TapEnd[]>();
  server.on('connect', (device) => {
    const own = taps.map((tap, pair) => new TapEnd(tap, device, pair));
    ends.set(device, own);
    device.onFrames((frames, pair) => own[pair]?.send(frames));
  });
  const look = (device: VhostUserDevice) => {
    for (const end of ends.get(device) ?? []) end.look();
  };
  server.on('start', look);
  server.on('stop', look);
  server.on('ring', (device, ring, active) => {
    const end = ends.get(device)?.[ring >> 1];
    if (end && ring % 2 === 0) end.started = active;
    look(device);
  });
  server.on('disconnect', (device) => {
    for (const end of ends.get(device) ?? []) end.close();
    ends.delete(device);
  });
  return server;
}

/** Between a TAP and one queue pair of a device. */
class TapEnd {
  /** Whether the guest's receive ring is. */
  started = false;
  readonly #tap: Tap;
  readonly #device: VhostUserDevice;
  readonly #pair: number;
  readonly #poller: Poller;
  readonly #queue: Fd;
  readonly #buffer = new Uint8Array(LONGEST);
  /** What came and found no buffer. */
  #held: Uint8Array | undefined;

  constructor(tap: Tap, device: VhostUserDevice, pair: number) {
    this.#tap = tap;
    this.#device = device;
    this.#pair = pair;
    this.#queue = duplicate(tap.fd);
    this.#poller = new native.Poller(this.#queue, false, () => this.look());
    this.#poller.pause();
  }

  /** The header is one of zeroes: no offload is on offer. What the TAP does not take is lost. */
  send(frames: readonly Frame[]): void {
    const header = new Uint8Array(this.#tap.headerLength);
    for (const { bytes } of frames) {
      try {
        writevSync(this.#tap.fd, [header, bytes]);
      } catch {}
    }
  }

  /** Gives the guest what there is, as long as it has room. */
  look(): void {
    this.#poller.pause();
    while (this.#serving) {
      this.#held ??= this.#read();
      if (!this.#held) {
        this.#poller.resume();
        return;
      }
      if (this.#device.enqueue([this.#held], this.#pair) === 0) {
        void this.#device.whenRoom(this.#pair).then(() => this.look());
        return;
      }
      this.#held = undefined;
    }
  }

  close(): void {
    this.started = false;
    this.#poller.close();
    this.#queue.close();
  }

  get #serving(): boolean {
    return this.started && (this.#device.status & VIRTIO_CONFIG_S_DRIVER_OK) !== 0;
  }

  #read(): Uint8Array | undefined {
    try {
      const size = readSync(this.#tap.fd, this.#buffer);
      return this.#buffer.slice(this.#tap.headerLength, size);
    } catch {
      return undefined;
    }
  }
}
