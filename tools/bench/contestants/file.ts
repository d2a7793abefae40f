/** What a Node program has without the library: the TAP as a file, a system call for each frame. */
import { read, writeSync } from 'node:fs';
import { Tap } from '../../../lib/index.js';
import { clocked, obey } from './commands.js';
import { FLOWS, makeFrame } from './frames.js';

let tap: Tap | undefined;

function openTap(): Tap {
  if (!tap) throw new Error('no TAP is open');
  return tap;
}

function send(frames: readonly Uint8Array[], count: number): void {
  const { fd } = openTap();
  for (let i = 0; i < count; i++) writeSync(fd, frames[i % FLOWS] as Uint8Array);
}

/** Looks at the first byte of each frame; returns their sum, lest it be left out. */
function receive(count: number): Promise<number> {
  const { fd } = openTap();
  const buffer = new Uint8Array(65_600);
  return new Promise((resolve, reject) => {
    let received = 0;
    let sum = 0;
    const next = () => {
      read(fd, buffer, 0, buffer.length, null, (error) => {
        if (error) return reject(error);
        sum += buffer[0] as number;
        if (++received < count) next();
        else resolve(sum);
      });
    };
    next();
  });
}

await obey({
  open: ([name = '']) =>
    clocked(0, () => {
      tap = Tap.open(name, { vnetHeader: false });
      tap.interface.setUp();
    }),
  send: ([length, , count]) => {
    const frames = Array.from({ length: FLOWS }, (_, flow) => makeFrame(Number(length), flow));
    return clocked(Number(count), () => send(frames, Number(count)));
  },
  receive: ([, count]) => clocked(Number(count), () => receive(Number(count))),
  close: () =>
    clocked(0, () => {
      tap?.close();
      tap = undefined;
    }),
});
