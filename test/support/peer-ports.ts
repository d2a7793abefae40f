/** Ports on the sockets of foreign back ends, and what goes through them. */
import { NetPort, type NetPortOptions, parseAddress, parseMac } from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import { isOurs, makeFrame, sequenceOf } from './frames.js';
import { until } from './host.js';
import { be16, bytesOf, checksum, packet } from './packets.js';

const MAC = parseMac('02:00:00:00:00:01');
const BROADCAST = new Array<number>(6).fill(0xff);
const OWN = '10.99.0.1';
const FAR = '10.99.0.2';

/** A port on a socket; it is closed when the test is over. */
export async function socketPort(
  socket: NetPortOptions['socket'] & {},
  options: Omit<NetPortOptions, 'socket'> = {},
): Promise<NetPort> {
  const port = await NetPort.open({ socket, ...options });
  cleanup(() => port.close());
  return port;
}

/** Counts the frames that come back, by their sequence numbers. It is the port's consumer from then on. */
export class Returned {
  readonly #seen = new Map<number, number>();
  /** The last frame that was none of {@link makeFrame}'s. */
  other: Uint8Array | undefined;

  constructor(port: NetPort) {
    port.onFrames((frames) => {
      for (const { bytes } of frames) {
        if (!isOurs(bytes)) this.other = bytes.slice();
        else this.#seen.set(sequenceOf(bytes), (this.#seen.get(sequenceOf(bytes)) ?? 0) + 1);
      }
    });
  }

  /** Different frames that came. */
  get count(): number {
    return this.#seen.size;
  }

  /** How often each of these came, where that is not once. */
  irregular(first: number, count: number): Map<number, number> {
    const found = new Map<number, number>();
    for (let i = first; i < first + count; i++) {
      const times = this.#seen.get(i) ?? 0;
      if (times !== 1) found.set(i, times);
    }
    return found;
  }
}

/** Frames that are under way at a time: fewer than a receive ring has buffers, or the far end drops some. */
const WINDOW = 128;

/** Sends frames `first` to `first + count - 1`, and waits until each came back. */
export async function echoed(port: NetPort, returned: Returned, first: number, count: number) {
  const before = returned.count;
  for (let sent = 0; sent < count; sent += 32) {
    const frames = Array.from({ length: Math.min(32, count - sent) }, (_, i) =>
      makeFrame(64, first + sent + i),
    );
    await port.send(frames);
    const enough = before + sent + frames.length - WINDOW;
    await until(() => returned.count >= enough, `frame ${enough} comes back`);
  }
  await until(() => returned.count >= before + count, 'every frame comes back');
}

/** Asks over and over who has an address, then pings it, until each is answered. Returns the answers. */
export async function pingThrough(
  port: NetPort,
  returned: Returned,
): Promise<{ arp: Uint8Array; echo: Uint8Array }> {
  const arp = await asked(port, returned, arpRequest(), 'ARP');
  const echo = await asked(port, returned, echoRequest(arp.subarray(6, 12)), 'echo');
  return { arp, echo };
}

async function asked(port: NetPort, returned: Returned, frame: Uint8Array, what: string) {
  returned.other = undefined;
  let last = 0;
  await until(() => {
    // A back end that has only just come may lose the first.
    if (Date.now() > last + 200) {
      last = Date.now();
      if (port.linkUp) void port.send(frame).catch(() => {});
    }
    return returned.other !== undefined;
  }, `an answer to ${what}`);
  return returned.other as unknown as Uint8Array;
}

function arpRequest(): Uint8Array {
  const header = [...be16(1), ...be16(0x0800), 6, 4, ...be16(1)];
  const who = bytesOf(header, MAC, parseAddress(OWN), new Array(6).fill(0), parseAddress(FAR));
  return bytesOf(BROADCAST, MAC, be16(0x0806), who, new Array(18).fill(0));
}

function echoRequest(to: Uint8Array): Uint8Array {
  const transport = bytesOf([8, 0, 0, 0], be16(7), be16(1), new Array(32).fill(0x55));
  transport.set(be16(checksum(transport)), 2);
  const macs: [number[], number[]] = [[...to], [...MAC]];
  return packet({ macs, source: OWN, destination: FAR, protocol: 1, transport });
}
