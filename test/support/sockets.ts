/** Unix sockets for one test, closed when it is over. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ReceivedDescriptor,
  UnixListener,
  UnixSocket,
  type UnixSocketType,
} from '../../lib/index.js';
import { cleanup } from './cleanup.js';

/** Closes `resource` when the test is over. */
export function kept<T extends { close(): unknown }>(resource: T): T {
  cleanup(() => resource.close());
  return resource;
}

/** A duplicate of a number as a descriptor that can be sent. */
export const sendable = (fd: number) => kept(ReceivedDescriptor.fromFd(fd));

/** A path in a folder of the test's own, which anybody may search. */
export function socketPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-'));
  chmodSync(folder, 0o755);
  cleanup(() => rmSync(folder, { recursive: true }));
  return join(folder, 'socket');
}

export function listen(type: UnixSocketType = 'seqpacket', path = socketPath()): UnixListener {
  return kept(UnixListener.listen(path, type));
}

/** Two ends of a connection. */
export function socketPair(type: UnixSocketType = 'seqpacket'): [UnixSocket, UnixSocket] {
  const listener = listen(type);
  const near = kept(UnixSocket.connect(listener.path, type));
  const far = listener.accept();
  if (!far) throw new Error('nobody to accept');
  return [near, kept(far)];
}

/** What arrived, with its bytes, also as text; its descriptors are closed when the test is over. */
export function receive(socket: UnixSocket, size = 1024, mostDescriptors = 0) {
  const buffer = new Uint8Array(size);
  const message = socket.receive(buffer, mostDescriptors);
  message?.descriptors.forEach(kept);
  const raw = message && buffer.subarray(0, message.size);
  return message && { ...message, raw, text: Buffer.from(raw ?? []).toString() };
}

export const bytes = (text: string) => new TextEncoder().encode(text);
