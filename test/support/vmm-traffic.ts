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

/** The guest sends; the host gets it all, unchanged. */
export async function guestSends(guest: VmmGuest, copies: number): Promise<void> {
  const programs = new Array(copies).fill('/bin/busybox').join(' ');
  await guest.run(`cat ${programs} > ${WWW}/programs`);
  await expectPrograms(guest, copies);
}

/** The guest sends for as long as `act` takes, which may talk to it; the host gets it all, unchanged. */
export async function whileGuestSends(guest: VmmGuest, act: () => Promise<void>): Promise<void> {
  await guest.run(`cat /bin/busybox /bin/busybox > ${WWW}/programs`);
  let acting = true;
  const traffic = async () => {
    while (acting) await expectPrograms(guest, 2);
  };
  const acted = act().finally(() => {
    acting = false;
  });
  await Promise.all([acted, traffic()]);
}

async function expectPrograms(guest: VmmGuest, copies: number): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of await download(guest.address, 'programs')) hash.update(chunk as Buffer);
  expect(hash.digest('hex')).toBe(hashOf(copies));
}

/** The host sends; the guest gets it all, unchanged. */
export async function guestReceives(guest: VmmGuest, copies: number): Promise<void> {
  const body = Readable.from(new Array<Buffer>(copies).fill(PROGRAM));
  const { shell, host } = guest;
  const output = await upload(shell, { host, body, command: 'sha256sum', limit: LIMIT });
  expect(output).toContain(hashOf(copies));
}
