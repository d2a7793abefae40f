/**
 * The TypeScript driver end of a ring whose device is the C program: `node driver-main.js
 * send|receive|echo LENGTH BATCH`, then a number of frames on each line of the input. The same loops as in
 * `c/ring.c`.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { EventFd, GuestMemory, placeVring, VringDriver } from '../../../lib/index.js';
import { programPath } from '../programs.js';

const SIZE = 256;
const SLOT = 1600;
const HEADER = 12;
const SLOTS_AT = 16_384;
const PAGE = 4096;
/** As `Transmitter` has it. */
const SHORT_WORDS = 64;

const [direction = '', length = '', batchText = ''] = process.argv.slice(2);
const receives = direction === 'receive';
const batch = Number(batchText);
const size = Math.ceil((SLOTS_AT + SIZE * SLOT) / PAGE) * PAGE;
const memory = GuestMemory.create([{ guestAddress: 0n, size }]);
const ring = new VringDriver(memory, {
  size: SIZE,
  addresses: placeVring(0n, SIZE),
  eventIdx: true,
});
const slots = Array.from({ length: SIZE }, (_, i) =>
  memory.bytes(BigInt(SLOTS_AT + i * SLOT), SLOT),
);
const frames = slots.map((slot) => slot.subarray(HEADER));
const all = memory.bytes(0n, size);
const words = new Uint32Array(all.buffer);
const frame = new Uint8Array(Number(length)).fill(1);
const frameWords = new Uint32Array(frame.buffer, 0, Math.floor(frame.length / 4));
let at = 0;

/** Waits until the device has sent half of what it has, as a sender that is called would. */
function makeRoom(): void {
  ring.publish();
  while (ring.free < SIZE / 2) ring.pop();
}

/** The frame to these words: one by one where it is short, for a copy of the engine's is a call. */
function copyFrame(to: number): void {
  if (frameWords.length > SHORT_WORDS) all.set(frame, to * 4);
  else for (let i = 0; i < frameWords.length; i++) words[to + i] = frameWords[i] as number;
}

function send(count: number): void {
  const bytes = HEADER + frame.length;
  for (let sent = 0; sent < count; sent += batch) {
    for (let i = 0; i < batch; i++) {
      if (ring.free === 0) makeRoom();
      const address = SLOTS_AT + at * SLOT;
      const header = address / 4;
      words[header] = 0;
      words[header + 1] = 0;
      words[header + 2] = 0;
      copyFrame(header + HEADER / 4);
      ring.addReadable(address, 0, bytes);
      at = (at + 1) % SIZE;
    }
    ring.publish();
  }
}

const slotOf = new Uint16Array(SIZE);
const held = new Uint16Array(SIZE);
const lengths = new Uint32Array(SIZE);

function post(slot: number): void {
  slotOf[ring.addWritable(SLOTS_AT + slot * SLOT, 0, SLOT)] = slot;
}

function receive(count: number): number {
  let sum = 0;
  for (let received = 0; received < count; ) {
    const some = ring.popHeld(held, lengths, 0, batch);
    for (let i = 0; i < some; i++) {
      const slot = slotOf[held[i] as number] as number;
      sum += (frames[slot] as Uint8Array)[0] as number;
    }
    ring.repost(held, some);
    ring.publish();
    received += some;
  }
  return sum;
}

const kick = EventFd.create();
const call = EventFd.create();

/** One frame after another, each when the device has called for the one before. */
function exchange(count: number): Promise<void> {
  let left = count;
  return new Promise((resolve) => {
    const give = () => {
      copyFrame((SLOTS_AT + HEADER) / 4);
      ring.addReadable(SLOTS_AT, 0, HEADER + frame.length);
      if (ring.publish()) kick.signal();
    };
    const goOn = () => {
      do {
        while (ring.pop() >= 0) {
          if (--left === 0) {
            call.offSignal();
            return resolve();
          }
          give();
        }
      } while (ring.enableCalls());
    };
    call.onSignal(goOn);
    give();
    goOn();
  });
}

const region = memory.regions[0];
if (!region) throw new Error('no memory');
const device = spawn(programPath('ring'), ['device', direction, length], {
  stdio: ['ignore', 'inherit', 'inherit', region.fd, kick.fd, call.fd],
});
if (receives) for (let i = 0; i < SIZE; i++) post(i);
ring.publish();
for await (const line of createInterface({ input: process.stdin })) {
  const count = Number(line);
  const start = process.hrtime.bigint();
  if (direction === 'echo') await exchange(count);
  else if (receives) receive(count);
  else send(count);
  const ns = Number(process.hrtime.bigint() - start);
  process.stdout.write(`${JSON.stringify({ frames: count, ns, cpu: 0 })}\n`);
}
device.kill('SIGKILL');
