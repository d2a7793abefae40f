/** What this process holds of the kernel, in numbers: cheap enough to be asked after every case. */
import { readdirSync, readFileSync } from 'node:fs';
import { same } from './run.js';

export interface Held {
  descriptors: number;
  /** Bytes of memfds that are mapped: lines of `/proc/self/maps` may become one where they lie side by side. */
  mapped: number;
}

/** What is polled is let go of in a later turn of the event loop, and what was mapped in a finalizer's. */
const TURNS = 50;

const MEMFD = /^([0-9a-f]+)-([0-9a-f]+) .*\/memfd:/gm;

export function held(): Held {
  let mapped = 0;
  for (const [, from, to] of readFileSync('/proc/self/maps', 'latin1').matchAll(MEMFD)) {
    mapped += Number.parseInt(to as string, 16) - Number.parseInt(from as string, 16);
  }
  return { descriptors: readdirSync('/proc/self/fd').length, mapped };
}

/** Fails where this process holds something else than `before`, and goes on doing so. */
export async function holdsNoMore(before: Held): Promise<void> {
  let now = before;
  for (let turns = 3; turns <= TURNS; turns *= 4) {
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
    now = held();
    if (now.descriptors === before.descriptors && now.mapped === before.mapped) return;
  }
  same('descriptors', now.descriptors, before.descriptors);
  same('bytes mapped', now.mapped, before.mapped);
}
