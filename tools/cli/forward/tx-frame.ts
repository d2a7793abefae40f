/** The frame that txonly sends: UDP between benchmark addresses (RFC 2544), as testpmd's. */
import { parseAddress } from '../../../lib/index.js';
import { fold, setU16, sum16 } from './bytes.js';

const IP = 14;
const UDP = IP + 20;
const DATA = UDP + 8;
/** Discard (RFC 863). */
const PORT = 9;

/** Shortest frame that holds the headers, in bytes. */
export const LEAST_TX_FRAME = DATA;

/** Who a frame is of and for. */
export interface TxAddresses {
  /** Hardware addresses of 6 bytes. */
  destination: Uint8Array;
  source: Uint8Array;
  /** Which of several flows, from 0: its source port is the number so much higher. */
  flow: number;
}

/** A frame of `length` bytes, with its checksums. */
export function txFrame(length: number, { destination, source, flow }: TxAddresses): Uint8Array {
  const frame = new Uint8Array(length);
  frame.set(destination, 0);
  frame.set(source, 6);
  setU16(frame, 12, 0x0800);
  frame.set([0x45, 0], IP);
  setU16(frame, IP + 2, length - IP);
  frame.set([64, 17], IP + 8);
  frame.set(parseAddress('198.18.0.1'), IP + 12);
  frame.set(parseAddress('198.18.0.2'), IP + 16);
  setU16(frame, IP + 10, fold(sum16(frame, IP, UDP)));
  setU16(frame, UDP, PORT + flow);
  setU16(frame, UDP + 2, PORT);
  setU16(frame, UDP + 4, length - UDP);
  for (let i = DATA; i < length; i++) frame[i] = i - DATA;
  const pseudo = sum16(frame, IP + 12, UDP, 17 + length - UDP);
  setU16(frame, UDP + 6, fold(sum16(frame, UDP, length, pseudo)) || 0xffff);
  return frame;
}
