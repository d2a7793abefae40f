/** A vhost-user connection whose other end is a bare socket, on which a test does what it likes. */
import {
  type Descriptor,
  EventFd,
  type UnixSocket,
  VhostUserConnection,
  type VhostUserConnectionOptions,
  type VhostUserMessage,
} from '../../lib/index.js';
import { kept, receive, socketPair } from './sockets.js';

export interface Peer {
  connection: VhostUserConnection;
  /** The other end. */
  far: UnixSocket;
  /** What arrived, in order; descriptors are closed when the test is over. */
  messages: VhostUserMessage[];
  /** With what the connection was closed, once it was. */
  closed: (Error | undefined)[];
}

/** A connection that receives into a list. */
export function peerOf(options: VhostUserConnectionOptions, listening = true): Peer {
  const [near, far] = socketPair('stream');
  const connection = kept(new VhostUserConnection(near, options));
  const peer: Peer = { connection, far, messages: [], closed: [] };
  connection.on('close', (error) => peer.closed.push(error));
  if (listening) {
    connection.listen((message) => {
      peer.messages.push(message);
      message.descriptors.forEach(kept);
    });
  }
  return peer;
}

export const events = (count: number): EventFd[] =>
  Array.from({ length: count }, (_, i) => kept(EventFd.create(i + 1)));

/** Sends bytes in pieces that end at `cuts`, the descriptors with the first. */
export function sendPieces(
  far: UnixSocket,
  bytes: Uint8Array,
  cuts: readonly number[],
  descriptors: readonly Descriptor[] = [],
): void {
  const ends = [...cuts, bytes.length];
  ends.forEach((end, i) => {
    far.send(bytes.subarray(i === 0 ? 0 : ends[i - 1], end), i === 0 ? descriptors : []);
  });
}

/** All that has been sent to the other end, and how many descriptors with it. */
export function sentTo(far: UnixSocket): { bytes: Uint8Array; descriptors: number } {
  const pieces: Buffer[] = [];
  let descriptors = 0;
  for (let got = receive(far, 65_536, 253); got && got.size > 0; got = receive(far, 65_536, 253)) {
    pieces.push(Buffer.from(got.raw ?? []));
    descriptors += got.descriptors.length;
  }
  return { bytes: new Uint8Array(Buffer.concat(pieces)), descriptors };
}

/** The numbers in the eventfds that came with a message: which they are. */
export function countsOf({ descriptors }: VhostUserMessage): number[] {
  return descriptors.map(({ fd }) => kept(EventFd.fromFd(fd)).read());
}
