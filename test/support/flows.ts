/** Frames of many flows: UDP packets that say which flow they are of, and which of it. */
import { PacketSocket } from '../../lib/index.js';

const ETH_P_IP = 0x0800;
const PORT = 1000;
const FLOW_AT = 42;

/** Bytes of each frame. */
export const FLOW_FRAME = 60;

/** Frame `sequence` of a flow, as the port sends it or, reversed, as the host does. */
export function flowFrame(flow: number, sequence: number, reversed = false): Uint8Array {
  const frame = Buffer.alloc(FLOW_FRAME);
  const [source, destination] = reversed ? [2, 1] : [1, 2];
  frame.set([2, 0, 0, 0, 0, destination, 2, 0, 0, 0, 0, source, 8, 0, 0x45]);
  frame.writeUInt16BE(FLOW_FRAME - 14, 16);
  frame.set([64, 17], 22);
  frame.set([198, 18, 0, source, 198, 18, 0, destination], 26);
  frame.writeUInt16BE(reversed ? 9 : PORT + flow, 34);
  frame.writeUInt16BE(reversed ? PORT + flow : 9, 36);
  frame.writeUInt16BE(FLOW_FRAME - 34, 38);
  frame.writeUInt32BE(flow, FLOW_AT);
  frame.writeUInt32BE(sequence, FLOW_AT + 4);
  return frame;
}

/** Whether a frame is such a one, and none of the host's own. */
export function isFlow(frame: Uint8Array): boolean {
  return frame.length === FLOW_FRAME && frame[26] === 198 && frame[27] === 18;
}

/** What such a frame says. */
export function readFlow(frame: Uint8Array): { flow: number; sequence: number } {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length);
  return { flow: bytes.readUInt32BE(FLOW_AT), sequence: bytes.readUInt32BE(FLOW_AT + 4) };
}

/** Checks that every flow is complete and in order. */
export class FlowCheck {
  readonly #next = new Map<number, number>();
  count = 0;

  see(frame: Uint8Array): void {
    const { flow, sequence } = readFlow(frame);
    const expected = this.#next.get(flow) ?? 0;
    if (sequence !== expected) {
      throw new Error(`flow ${flow}: frame ${sequence} came where ${expected} was due`);
    }
    this.#next.set(flow, expected + 1);
    this.count++;
  }
}

/** The host's end of an interface, for such frames. */
export class FlowSocket {
  readonly #socket: PacketSocket;
  readonly #slots = new Uint8Array(64 * FLOW_FRAME);
  readonly #lengths = new Uint32Array(64);

  constructor(interfaceName: string) {
    this.#socket = PacketSocket.open(interfaceName, {
      protocol: ETH_P_IP,
      ignoreOutgoing: true,
      receiveBuffer: 64 << 20,
    });
  }

  /** Sends up to 64 frames; returns how many went. */
  send(frames: readonly Uint8Array[]): number {
    frames.forEach((frame, i) => {
      this.#slots.set(frame, i * FLOW_FRAME);
      this.#lengths[i] = frame.length;
    });
    return this.#socket.send(this.#slots, FLOW_FRAME, this.#lengths, frames.length);
  }

  /** The frames that wait, at most 64, as views that the next call overwrites. */
  read(): Uint8Array[] {
    const count = this.#socket.receive(this.#slots, FLOW_FRAME, this.#lengths);
    return Array.from({ length: count }, (_, i) =>
      this.#slots.subarray(i * FLOW_FRAME, (i + 1) * FLOW_FRAME),
    );
  }

  close(): void {
    this.#socket.close();
  }
}
