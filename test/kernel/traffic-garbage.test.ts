import { expect, test } from 'vitest';
import { runChild } from '../support/child.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { tapName } from '../support/host.js';

holdNothingLeaks();

/** So large a young generation that nothing is collected: the heap grows by all that is allocated. */
const NO_COLLECTIONS = ['--max-semi-space-size=256', '--min-semi-space-size=256', '--expose-gc'];

/** Prints the bytes of garbage that a frame costs each way, and the kicks. */
const SCRIPT = `
  const { NetPort, PacketSocket } = vhost;
  const name = process.argv[1];
  const FRAMES = 50_000, ROUNDS = 3, LENGTH = 60;
  const port = await NetPort.open({ tap: name });
  const wire = PacketSocket.open(name, { protocol: 0x88b5, ignoreOutgoing: true });
  const frame = Uint8Array.from({ length: LENGTH }, (_, i) => (i === 12 ? 0x88 : 0xb5));
  const batch = new Array(64).fill(frame);
  const slots = new Uint8Array(64 * LENGTH), lengths = new Uint32Array(64).fill(LENGTH);
  for (let i = 0; i < 64; i++) slots.set(frame, i * LENGTH);
  let received = 0, bytes = 0;
  port.onFrames((frames) => {
    received += frames.length;
    for (let i = 0; i < frames.length; i++) bytes += frames[i].bytes.length;
  });
  const heap = () => process.memoryUsage().heapUsed;
  // The event loop does not turn, so nothing else allocates; what the host does not read is dropped.
  function send(count) {
    let sent = 0;
    while (sent < count) sent += port.trySend(batch);
    return sent;
  }
  async function receive(count) {
    const end = received + count;
    let turns = 0;
    for (; received < end; turns++) {
      for (let i = 0; i < 6; i++) wire.send(slots, LENGTH, lengths, 64);
      await new Promise(setImmediate);
    }
    return turns;
  }
  // What the turns of the loop and the socket cost without a port: nobody receives what is sent.
  async function turnsAlone(turns, socket) {
    const before = heap();
    for (let i = 0; i < turns; i++) {
      for (let n = 0; n < 6; n++) socket.send(slots, LENGTH, lengths, 64);
      await new Promise(setImmediate);
    }
    return heap() - before;
  }
  const lone = vhost.Tap.open('x' + name.slice(1));
  lone.interface.setUp();
  const nowhere = PacketSocket.open(lone.interface.name, { protocol: 0x88b5 });
  send(30_000); await receive(30_000); await turnsAlone(500, nowhere);
  gc();
  // The best of some rounds: what the compiler allocates is not the frames'.
  let sending = Infinity, sent = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const start = heap();
    sent = send(FRAMES);
    sending = Math.min(sending, (heap() - start) / sent);
  }
  const begin = heap(), had = received;
  const turns = await receive(FRAMES);
  const all = heap() - begin, got = received - had;
  const receiving = (all - (await turnsAlone(turns, nowhere))) / got;
  const { rxKicks, rxFrames, rxCalls, txKicks, txFrames } = port.counters;
  console.log(JSON.stringify({ sending, receiving, sent, got, turns, all,
    kicksASent: txKicks / txFrames, kicksAReceived: rxKicks / rxFrames, callsAReceived: rxCalls / rxFrames }));
  wire.close(); nowhere.close(); lone.close();
  await port.close();
`;

test('a frame costs no garbage, sent or received', async () => {
  const { code, stdout, stderr } = await runChild(SCRIPT, {
    args: [tapName()],
    nodeArgs: NO_COLLECTIONS,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const measured = JSON.parse(stdout);
  expect(measured.sending, stdout).toBeLessThan(8);
  expect(measured.receiving, stdout).toBeLessThan(8);
  expect(measured.sent).toBeGreaterThanOrEqual(50_000);
  expect(measured.got).toBeGreaterThanOrEqual(50_000);
});
