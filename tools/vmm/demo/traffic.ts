/** One stream of bytes between the guest's nc and a server on the host, and how long it took. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { GuestShell } from '../guest/shell.js';

export interface Stream {
  bytes: number;
  seconds: number;
}

const CHUNK = 1 << 20;

/** Longest time of one, in ms: an emulated machine takes a minute. */
const LIMIT = 300_000;

/** The guest sends `bytes`, whole MiB. What is counted is what arrived. */
export function fromGuest(shell: GuestShell, host: string, bytes: number): Promise<Stream> {
  return stream(
    host,
    (socket) => countBytes(socket),
    (port) =>
      shell.run(
        `dd if=/dev/zero bs=${CHUNK} count=${bytes / CHUNK} 2>/dev/null | nc ${host} ${port}`,
        LIMIT,
      ),
  );
}

/** The host sends `bytes`, whole MiB. What is counted is what arrived. */
export async function toGuest(shell: GuestShell, host: string, bytes: number): Promise<Stream> {
  let arrived = 0;
  const result = await stream(
    host,
    (socket) => sendBytes(socket, bytes),
    async (port) => {
      const { output } = await shell.run(`nc ${host} ${port} | wc -c`, LIMIT);
      arrived = Number(output.trim());
    },
  );
  return { ...result, bytes: arrived };
}

async function stream(
  host: string,
  serve: (socket: Socket) => Promise<number>,
  run: (port: number) => Promise<unknown>,
): Promise<Stream> {
  // The guest's nc closes its half when its input has ended, which is at once where it receives.
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, host);
  await once(server, 'listening');
  const served = once(server, 'connection').then(([socket]) => serve(socket as Socket));
  const started = performance.now();
  const [bytes] = await Promise.all([served, run((server.address() as AddressInfo).port)]);
  server.close();
  return { bytes, seconds: (performance.now() - started) / 1000 };
}

async function countBytes(socket: Socket): Promise<number> {
  let count = 0;
  for await (const chunk of socket) count += (chunk as Buffer).length;
  socket.end();
  return count;
}

async function sendBytes(socket: Socket, bytes: number): Promise<number> {
  const chunk = Buffer.alloc(CHUNK);
  for (let sent = 0; sent < bytes; sent += CHUNK) {
    if (!socket.write(chunk)) await once(socket, 'drain');
  }
  socket.resume().end();
  await once(socket, 'close');
  return bytes;
}
