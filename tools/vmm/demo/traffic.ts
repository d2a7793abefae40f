/** So many bytes of TCP out of the guest and in, and how long they took. */
import { Readable } from 'node:stream';
import { download, serveFolder, upload, WWW } from '../guest/http.js';
import type { GuestShell } from '../guest/shell.js';

export interface Stream {
  /** Those that arrived. */
  bytes: number;
  seconds: number;
}

const CHUNK = 1 << 20;
/** Longest time of one, in ms: an emulated machine takes its time. */
const LIMIT = 240_000;

export async function fromGuest(
  shell: GuestShell,
  address: string,
  bytes: number,
): Promise<Stream> {
  await serveFolder(shell);
  await shell.run(`truncate -s ${bytes} ${WWW}/zeros`);
  return timed(async () => {
    let count = 0;
    for await (const chunk of await download(address, 'zeros')) count += (chunk as Buffer).length;
    return count;
  });
}

/** `bytes`: whole MiB. */
export function toGuest(shell: GuestShell, host: string, bytes: number): Promise<Stream> {
  function* zeros() {
    const chunk = Buffer.alloc(CHUNK);
    for (let sent = 0; sent < bytes; sent += CHUNK) yield chunk;
  }
  return timed(async () => {
    const body = Readable.from(zeros());
    return Number(await upload(shell, { host, body, command: 'wc -c', limit: LIMIT }));
  });
}

async function timed(move: () => Promise<number>): Promise<Stream> {
  const started = performance.now();
  const bytes = await move();
  return { bytes, seconds: (performance.now() - started) / 1000 };
}
