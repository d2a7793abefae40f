/** TCP between a guest and the host, whose every byte is known: copies of one program that both have. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { expect } from 'vitest';
import { download, upload, WWW } from '../../tools/vmm/guest/http.js';
import type { VmmGuest } from './vmm-guest.js';

const PROGRAM = readFileSync('/bin/busybox');
/** Longest time of a transfer, in ms. */
const LIMIT = 200_000;

function hashOf(copies: number): string {
  const hash = createHash('sha256');
  for (let i = 0; i < copies; i++) hash.update(PROGRAM);
  return hash.digest('hex');
}

export interface Sending {
  /** Whether the host has it all. */
  finished: boolean;
  /** Settles when it has, unchanged. */
  done: Promise<void>;
}

/** The guest begins to send. */
export async function guestSends(guest: VmmGuest, copies: number): Promise<Sending> {
  const programs = new Array(copies).fill('/bin/busybox').join(' ');
  await guest.run(`cat ${programs} > ${WWW}/programs`);
  const response = await download(guest.address, 'programs');
  const sending: Sending = { finished: false, done: Promise.resolve() };
  const receive = async () => {
    const hash = createHash('sha256');
    for await (const chunk of response) hash.update(chunk as Buffer);
    sending.finished = true;
    expect(hash.digest('hex')).toBe(hashOf(copies));
  };
  sending.done = receive();
  return sending;
}

/** The host sends; the guest gets it all, unchanged. */
export async function guestReceives(guest: VmmGuest, copies: number): Promise<void> {
  const body = Readable.from(new Array<Buffer>(copies).fill(PROGRAM));
  const { shell, host } = guest;
  const output = await upload(shell, { host, body, command: 'sha256sum', limit: LIMIT });
  expect(output).toContain(hashOf(copies));
}
