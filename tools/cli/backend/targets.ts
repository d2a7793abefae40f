/** What becomes of the frames that front-ends send, and where those come from that they are given. */
import {
  Frame,
  LONGEST_FRAME,
  NetPort,
  parseMac,
  type VhostUserDevice,
} from '../../../lib/index.js';
import { unlessGone } from '../attach/job.js';
import { icmpEcho } from '../forward/icmp-echo.js';
import { PcapWriter } from '../pcap.js';
import { CableEnd } from './cable-end.js';
import { type BackendCommandOptions, RESPONDER_MAC } from './options.js';

/** Frames of one burst of a device. */
const BURST = 64;

export interface JoinedTap {
  tap: string;
  backend: string;
}

export interface Outlet {
  /** The TAP that frames go to, and who moves them there. */
  readonly joined?: JoinedTap;
  /** Called when the sockets are there, before anybody connects. */
  open?(): void;
  /** Serves a device that has just connected. */
  serve(device: VhostUserDevice): void;
  /** Its frames go from now on; and they do not any more, or it is gone. */
  started?(device: VhostUserDevice): void;
  stopped?(device: VhostUserDevice): void;
  /** What it did so far, for the summary. */
  readonly counts: Readonly<Record<string, number>>;
  /** Aborted when nothing goes there any more; {@link Outlet.close} throws why. */
  readonly gone?: AbortSignal;
  close(): Promise<void>;
}

/** A host of a few addresses. It answers in copies: what a guest sends is the guest's, and not to be written to. */
export function responder(addresses: readonly string[], mac: Uint8Array): Outlet {
  const forwarder = icmpEcho(addresses, mac);
  const copies: Frame[] = [];
  const copyOf = (frame: Frame, index: number) => {
    copies[index] ??= Frame.from(new Uint8Array(LONGEST_FRAME));
    const copy = copies[index] as Frame;
    copy.length = frame.length;
    copy.bytes.set(frame.bytes);
    return copy;
  };
  return {
    counts: forwarder.counts,
    serve: (device) =>
      device.onFrames((frames, pair) => {
        device.enqueue(forwarder.answer(frames.slice(0, BURST).map(copyOf)), pair);
      }),
    close: async () => {},
  };
}

/** Captures what front-ends send. The file is emptied when there will be something to capture. */
export function capture(file: string): Outlet {
  let pcap: PcapWriter | undefined;
  const gone = new AbortController();
  return {
    counts: {},
    gone: gone.signal,
    open() {
      pcap = new PcapWriter(file, () => gone.abort());
    },
    serve: (device) => device.onFrames((frames) => pcap?.write(frames)),
    close: async () => pcap?.close(),
  };
}

/** Joins front-ends and a TAP, which is at the other end of a cable to them. */
export async function tap(name: string): Promise<Outlet> {
  const port = await NetPort.open({ tap: name });
  const gone = new AbortController();
  // Also while a burst waits for a guest, when nobody looks at the port.
  port.on('error', () => gone.abort());
  port.tap.interface.setUp();
  const counts = { lost: 0 };
  const end = new CableEnd((frames) => {
    counts.lost += frames;
  });
  const receiving = (async () => {
    for await (const frames of port) await end.give(frames, 0);
  })();
  receiving.catch(() => gone.abort());
  return {
    joined: { tap: port.tap.interface.name, backend: port.backend },
    counts,
    gone: gone.signal,
    serve: (device) => device.onFrames((frames) => port.send(frames).catch(unlessGone)),
    started: (device) => end.started(device),
    stopped: (device) => end.stopped(device),
    async close() {
      await port.close();
      await receiving;
    },
  };
}

/** Where `--to` leads; a second socket is the command's own to make. */
export async function outletOf({ to, mac }: BackendCommandOptions): Promise<Outlet | undefined> {
  switch (to.kind) {
    case 'responder':
      return responder(to.addresses, mac ?? parseMac(RESPONDER_MAC));
    case 'pcap':
      return capture(to.file);
    case 'tap':
      return tap(to.name);
    case 'socket':
      return undefined;
  }
}
