/**
 * What a program at one end of a vhost-user connection understands beside `open PATH [sleeping|polling]` and `close`:
 * `begin send|receive LENGTH BATCH`, to which the answer comes at once, then `sent`, which ends the sending, or
 * `received COUNT`, which waits for as many frames. Both answer how many frames it moved since `begin`.
 */
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import type { Sendable } from '../../../lib/index.js';
import { type Handler, obey, type Took } from './commands.js';
import { makeBatches } from './frames.js';

/** How a program waits: for a call or a kick, asleep, or looking again and again. */
export type Waiting = 'sleeping' | 'polling';

/** Batches after which the event loop gets a turn, where nothing else gives it one. */
export const BATCHES_PER_TURN = 64;
/** Between two looks at a counter, in ms, and the longest that it may take to reach its number. */
const PAUSE = 1;
const PATIENCE = 10_000;

export interface End {
  open(path: string, waiting: Waiting): Promise<void>;
  /** Sends these batches in turn until `going` says no more; then all of it is on its way. */
  send(batches: Sendable[][], going: () => boolean): Promise<void>;
  /** Looks at frames until `going` says no more, where they are not handed out. */
  receive(going: () => boolean): Promise<void>;
  /** Frames so far. */
  counts(): { sent: number; received: number };
  close(): Promise<void>;
}

/** Obeys the commands as {@link End} does what they ask for. */
export async function obeyAs(end: End): Promise<void> {
  let going = false;
  let moving: Promise<void> = Promise.resolve();
  let before = end.counts();
  const took = (frames: number): Took => ({ frames, ns: 0, cpu: 0 });
  const handlers: Record<string, Handler> = {
    open: async ([path = '', waiting]) => {
      await end.open(path, waiting as Waiting);
      return took(0);
    },
    begin: async ([direction, length, batch]) => {
      before = end.counts();
      going = true;
      const on = () => going;
      const batches = makeBatches(Number(length), Number(batch));
      moving = direction === 'send' ? end.send(batches, on) : end.receive(on);
      return took(0);
    },
    sent: async () => {
      going = false;
      await moving;
      return took(end.counts().sent - before.sent);
    },
    received: async ([count]) => {
      const wanted = before.received + Number(count);
      for (let waited = 0; end.counts().received < wanted && waited < PATIENCE; waited += PAUSE) {
        await sleep(PAUSE);
      }
      going = false;
      await moving;
      return took(end.counts().received - before.received);
    },
    close: async () => {
      await end.close();
      return took(0);
    },
  };
  await obey(handlers);
}

/** Calls `step` until it is to end, and lets the event loop have its turns. */
export async function repeat(going: () => boolean, step: () => unknown): Promise<void> {
  while (going()) {
    for (let i = 0; i < BATCHES_PER_TURN; i++) step();
    await turn();
  }
}
