import { existsSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { BUILT, runChild } from '../support/child.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { checkFrameBytes } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { expectNoLeaks, leakSnapshot } from '../support/leaks.js';
import { hostToPort, openPortAndWire, portToHost } from '../support/ports.js';

holdNothingLeaks();

const exists = (name: string) => existsSync(`/sys/class/net/${name}`);

describe('a process', () => {
  test('goes on when a listener throws, and so does its port; unref() lets it end', async () => {
    const { code, stdout, stderr } = await runChild(
      `
      const { NetPort, PacketSocket, ETH_P_ALL } = vhost;
      const port = await NetPort.open({ tap: process.argv[1] });
      const wire = PacketSocket.open(process.argv[1], { protocol: 0x88b5 });
      const frame = Uint8Array.from({ length: 60 }, (_, i) => (i === 12 ? 0x88 : 0xb5));
      let caught = 0, seen = 0;
      process.on('uncaughtException', (error) => {
        if (error.message !== 'from the listener') throw error;
        caught++;
      });
      port.onFrames((frames) => {
        const ours = frames.filter(({ bytes }) => bytes[12] === 0x88 && bytes[13] === 0xb5);
        if (ours.length === 0) return;
        seen += ours.length;
        if (seen < 10) { send(); throw new Error('from the listener'); }
        console.log(JSON.stringify({ seen, caught }));
        wire.close();
        port.unref();
      });
      const send = () => wire.send(frame, 60, Uint32Array.of(60), 1);
      send();
      `,
      { args: [tapName()] },
    );
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({ seen: 10, caught: 9 });
    expect(code).toBe(0);
  });

  test("goes on when a listener of 'drain' throws, and so does its port", async () => {
    const { code, stdout, stderr } = await runChild(
      `
      const port = await vhost.NetPort.open({ tap: process.argv[1], queueSize: 16 });
      const frames = new Array(300).fill(new Uint8Array(60));
      process.on('uncaughtException', ({ message }) => {
        port.send(frames).then(() => port.flush()).then(() => {
          console.log(message, port.counters.txFrames === 300 + taken);
          return port.close();
        });
      });
      port.once('drain', () => {
        throw new Error('from the listener');
      });
      const taken = port.trySend(frames);
      `,
      { args: [tapName()] },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe('from the listener true\n');
    expect(code).toBe(0);
  });

  test('that exits with a port open leaves nothing behind', async () => {
    const name = tapName();
    const { code, stdout, stderr } = await runChild(
      `
      const port = await vhost.NetPort.open({ tap: process.argv[1] });
      port.onFrames(() => {});
      void port.send(new Array(5000).fill(new Uint8Array(60)));
      console.log('open');
      // Longer than an open port without ref() would live.
      setTimeout(() => process.exit(0), 50);
      `,
      { args: [name] },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'open\n', stderr: '' });
    await until(() => !exists(name), 'the TAP is gone');
  });
});

describe('a worker thread', () => {
  const SOURCE = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.library).then(async ({ NetPort, LinkMonitor, PacketSocket }) => {
      const port = await NetPort.open({ tap: workerData.name });
      port.onFrames((frames) => port.trySend(frames));
      globalThis.kept = [PacketSocket.open(workerData.name), LinkMonitor.open()];
      globalThis.kept[0].onReadable(() => {});
      if (workerData.round % 3 === 0) void port.send(new Array(5000).fill(new Uint8Array(60)));
      if (workerData.round % 4 === 1) void port.close();
      parentPort.postMessage('open');
      if (workerData.round % 2 === 0) process.exit(0);
    });
  `;

  async function runOne(round: number): Promise<void> {
    const workerData = { library: BUILT, name: tapName(), round };
    const worker = new Worker(SOURCE, { eval: true, workerData });
    const ended = new Promise<void>((resolve, reject) => {
      worker.on('error', reject);
      worker.on('exit', () => resolve());
    });
    const open = new Promise((resolve) => worker.once('message', resolve));
    await Promise.race([open, ended]);
    if (round % 2 === 1) await worker.terminate();
    await ended;
  }

  test('that exits or is terminated with everything open leaves nothing, 12 times', async () => {
    const before = await leakSnapshot();
    for (let round = 0; round < 12; round += 4) {
      await Promise.all([0, 1, 2, 3].map((i) => runOne(round + i)));
    }
    await expectNoLeaks(before);
  });
});

test('garbage collection during traffic both ways damages nothing', async () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const { port, wire } = await openPortAndWire();
  let collections = 0;
  const timer = setInterval(() => {
    gc();
    collections++;
  }, 10);
  try {
    const length = (n: number) => 60 + ((n * 13) % 1400);
    await hostToPort(wire, port, 1000, length);
    await portToHost(port, wire, 1000, length);
    let echoed = 0;
    port.onFrames((frames) => port.trySend(frames));
    const read = async () => {
      while (echoed < 1000) {
        for (const bytes of wire.read()) checkFrameBytes(bytes, length(echoed), echoed++);
        await new Promise(setImmediate);
      }
    };
    await Promise.all([wire.send(1000, length, () => echoed, { window: 128 }), read()]);
  } finally {
    clearInterval(timer);
    setFlagsFromString('--no-expose-gc');
  }
  expect(collections).toBeGreaterThan(20);
});
