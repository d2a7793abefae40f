/** TCP between a guest and the host, whose every byte is known: copies of one program that both have. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { expect } from 'vitest';
import { cleanup } from './cleanup.js';
import type { VmmGuest } from './vmm-guest.js';

const PROGRAM = readFileSync('/bin/busybox');

function hashOf(copies: number): string {
  const hash = createHash('sha256');
  for (let i = 0; i < copies; i++) hash.update(PROGRAM);
  return hash.digest('hex');
}

/** A server for one connection, closed with the test. */
async function serve(host: string, serveOne: (socket: Socket) => void): Promise<Server> {
  // The guest's nc closes its half when its input has ended, which is at once where it receives.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    serveOne(socket);
  });
  cleanup(() => server.close());
  server.listen(0, host);
  await once(server, 'listening');
  return server;
}

const portOf = (server: Server) => (server.address() as AddressInfo).port;

export interface Sending {
  /** Whether the host has it all. */
  finished: boolean;
  /** Settles when it has, unchanged. */
  done: Promise<void>;
}

/** The guest sends, in the background of its shell. */
export async function guestSends(guest: VmmGuest, copies: number): Promise<Sending> {
  const hash = createHash('sha256');
  let end!: () => void;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const server = await serve(guest.host, (socket) => {
    socket.on('data', (bytes) => hash.update(bytes));
    socket.on('end', () => socket.end());
    socket.on('close', end);
  });
  const copy = `i=0; while [ $i -lt ${copies} ]; do cat /bin/busybox; i=$((i+1)); done`;
  await guest.run(`(${copy}) | nc ${guest.host} ${portOf(server)} >/dev/null 2>&1 &`);
  const sending: Sending = {
    finished: false,
    done: ended.then(() => {
      sending.finished = true;
      expect(hash.digest('hex')).toBe(hashOf(copies));
    }),
  };
  return sending;
}

/** The host sends. Settles when the guest has got it all, unchanged. */
export async function guestReceives(guest: VmmGuest, copies: number): Promise<void> {
  const server = await serve(guest.host, async (socket) => {
    for (let i = 0; i < copies; i++) {
      await new Promise<void>((resolve) => socket.write(PROGRAM, () => resolve()));
    }
    socket.end();
  });
  const command = `nc ${guest.host} ${portOf(server)} 2>/dev/null | sha256sum`;
  expect(await guest.run(command, 120_000)).toContain(hashOf(copies));
}
