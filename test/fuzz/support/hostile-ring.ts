/** What a hostile guest writes into a ring: descriptors to anywhere, loops, commands that mean nothing. */
import type { DeviceQueue } from '../../../lib/device/device-queue.js';
import { anywhere, COMMANDS_AT, get16, put8, put16, put32 } from './guest-memory.js';
import type { Random } from './random.js';

const [NEXT, WRITE, INDIRECT] = [1, 2, 4] as const;
const COMMANDS = 16;
const ANSWERS_AT = COMMANDS_AT + 0x1000;

/** Offers something by a queue, as it was set up, wherever that is. */
export function offerSomething(queue: DeviceQueue, random: Random): void {
  const { desc, avail } = queue.addresses;
  const descAt = Number(desc);
  const availAt = Number(avail);
  const head = random.below(queue.size);
  if (random.chance(600)) offerCommand(descAt, head, queue.size, random);
  else offerChain(descAt, head, queue.size, random);
  const index = get16(availAt + 2);
  put16(availAt + 4 + 2 * (index % queue.size), random.chance(20) ? random.u32() : head);
  put16(availAt + 2, random.chance(20) ? random.u32() : index + 1);
  put16(availAt, random.below(2));
  put16(availAt + 4 + 2 * queue.size, random.u32());
}

/** A command in one buffer or two and room for the answer; the command may mean nothing. */
function offerCommand(descAt: number, head: number, size: number, random: Random): void {
  const at = COMMANDS_AT + 64 * random.below(COMMANDS);
  const length = random.chance(800) ? random.pick([2, 3, 4, 4, 8, 10]) : random.below(64);
  put8(at, random.chance(950) ? random.below(7) : random.u32());
  put8(at + 1, random.below(6));
  for (let i = 2; i < length; i++) put8(at + i, random.below(random.chance(700) ? 4 : 256));
  if (random.chance(200)) setPairs(at, random.below(5));
  const second = (head + 1) % size;
  descriptor(descAt, head, at, 0, length, NEXT, second);
  descriptor(descAt, second, ANSWERS_AT, 0, 1, WRITE, 0);
}

/** The command that the backend has most to do with. */
function setPairs(at: number, count: number): void {
  put8(at, 4);
  put8(at + 1, 0);
  put16(at + 2, count);
}

function offerChain(descAt: number, head: number, size: number, random: Random): void {
  const count = random.between(1, 5);
  let index = head;
  for (let i = 0; i < count; i++) {
    const writable = random.chance(500);
    const [low, high] = anywhere(random, writable);
    const next = random.chance(800) ? (index + 1) % size : random.edge(size);
    const more = i + 1 < count || random.chance(50) ? NEXT : 0;
    const flags = more | (writable ? WRITE : 0) | (random.chance(100) ? INDIRECT : 0);
    const length = random.chance(600) ? random.below(64) : random.edge(0x1000);
    descriptor(descAt, index, low, high, length, flags, next);
    index = next % size;
  }
}

function descriptor(
  table: number,
  index: number,
  low: number,
  high: number,
  length: number,
  flags: number,
  next: number,
): void {
  const at = table + 16 * index;
  put32(at, low);
  put32(at + 4, high);
  put32(at + 8, length);
  put16(at + 12, flags);
  put16(at + 14, next);
}
