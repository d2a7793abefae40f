/** A card that moves from one process to another while frames go, with a copy of its guest's memory. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';
import {
  DirtyLog,
  GuestMemory,
  KernelBackend,
  PacketSocket,
  Tap,
  VirtioNetDevice,
  VirtioPciTransport,
} from '../../lib/index.js';
import { MODULES } from '../support/child.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { checkFrameBytes, ETHERTYPE, writeFrame } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { digestOf, type FromTarget, type ToTarget } from '../support/migration-target.js';
import { lengthOf, MAC, MEMORY_SIZE, MovingGuest, PAGE } from '../support/moving-guest.js';
import { PciDriver } from '../support/pci-driver.js';

holdNothingLeaks();

/** Frames to the guest that come while there is no card. */
const BURST = 100;
/** Frames each way after the move, those of the burst among them. */
const AFTER = 500;
const SLOT = 2048;

/** The host's end: it sends frames to the guest, and takes the guest's, in order and each once. */
class Host {
  sent = 0;
  received = 0;
  readonly #socket: PacketSocket;
  readonly #slots = Buffer.alloc(64 * SLOT);
  readonly #lengths = new Uint32Array(64);

  constructor(name: string) {
    this.#socket = PacketSocket.open(name, {
      protocol: ETHERTYPE,
      ignoreOutgoing: true,
      receiveBuffer: 8 << 20,
    });
    cleanup(() => this.#socket.close());
  }

  send(count: number): void {
    for (let i = 0; i < count; i++) {
      const length = lengthOf(this.sent);
      const frame = new Uint8Array(length);
      writeFrame(frame, length, this.sent);
      if (this.#socket.send(frame, length, Uint32Array.of(length), 1) === 0) return;
      this.sent++;
    }
  }

  take(): void {
    for (;;) {
      const count = this.#socket.receive(this.#slots, SLOT, this.#lengths);
      for (let i = 0; i < count; i++) {
        const at = i * SLOT;
        const frame = this.#slots.subarray(at, at + (this.#lengths[i] as number));
        checkFrameBytes(frame, lengthOf(this.received), this.received);
        this.received++;
      }
      if (count === 0) return;
    }
  }
}

/** The process that the card moves to. It has the TAP already: what waits there when the card stops is not lost. */
function startTarget(tap: Tap) {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-test-'));
  cleanup(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'test/support'), { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  symlinkSync(fileURLToPath(MODULES), join(folder, 'lib'));
  for (const name of ['migration-target', 'moving-guest', 'pci-driver', 'frames']) {
    const source = readFileSync(join(import.meta.dirname, `../support/${name}.ts`), 'utf8');
    const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
    const { outputText } = ts.transpileModule(source, { compilerOptions });
    writeFileSync(join(folder, `test/support/${name}.js`), outputText);
  }
  const child = spawn(process.execPath, [join(folder, 'test/support/migration-target.js')], {
    env: { ...process.env, MIGRATION_TARGET: '1', NODE_OPTIONS: '' },
    stdio: ['ignore', 'inherit', 'inherit', tap.fd, 'ipc'],
    serialization: 'advanced',
  });
  cleanup(() => {
    if (child.exitCode === null) child.kill('SIGKILL');
  });
  const messages: FromTarget[] = [];
  child.on('message', (message) => messages.push(message as FromTarget));
  child.on('exit', (code) => {
    if (code !== 0) messages.push({ kind: 'failed', reason: `the target exited with ${code}` });
  });
  return {
    send: (message: ToTarget) =>
      new Promise<void>((done, failed) => {
        child.send(message, (error) => (error ? failed(error) : done()));
      }),
    async says<K extends FromTarget['kind']>(kind: K, meanwhile = () => {}) {
      let found: FromTarget | undefined;
      const saysSo = () => {
        meanwhile();
        const failure = messages.find((message) => message.kind === 'failed');
        if (failure?.kind === 'failed') throw new Error(failure.reason);
        found = messages.find((message) => message.kind === kind);
        return found !== undefined;
      };
      await until(saysSo, `the target is ${kind}`, 90_000);
      return found as FromTarget & { kind: K };
    },
  };
}

test('every frame arrives once and in order, both ways, before and after', {
  timeout: 180_000,
}, async () => {
  const memory = GuestMemory.create([{ guestAddress: 0n, size: MEMORY_SIZE }]);
  cleanup(() => memory.close());
  const tap = Tap.open(tapName());
  cleanup(() => tap.closeAsync());
  const backend = KernelBackend.open([tap]);
  cleanup(() => backend.close());
  const device = new VirtioNetDevice({ memory, backend, taps: [tap], mac: MAC });
  cleanup(() => device.close());
  const interrupt = (index: number) => guest.interrupt(index);
  const transport = new VirtioPciTransport(device, { onMsi: (_, data) => interrupt(data) });
  cleanup(() => transport.close());
  const guest = new MovingGuest(memory, new PciDriver(transport));
  tap.interface.setUp();
  const host = new Host(tap.name);
  const target = startTarget(tap);
  await target.says('ready');

  await guest.bringUp();
  guest.resume();
  const traffic = () => {
    if (host.sent - guest.received < 48) host.send(8);
    guest.send(guest.sent + 8);
    host.take();
  };
  await until(() => {
    traffic();
    return guest.received > 100 && host.received > 100;
  }, 'frames before the move');

  const log = DirtyLog.create(memory);
  cleanup(async () => {
    await backend.setDirtyLog(null);
    log.close();
  });
  await backend.setDirtyLog(log);
  guest.written.clear();
  const copy = async (at: number, size: number) => {
    await target.send({ kind: 'pages', at, bytes: memory.read(BigInt(at), size) });
  };
  for (let at = 0; at < MEMORY_SIZE; at += 16 * PAGE) {
    await copy(at, 16 * PAGE);
    traffic();
  }
  let fromLog = 0;
  const round = async () => {
    // The log first: what the driver answers to it is written after.
    const ranges = [...log.harvest()];
    const pages = [...guest.written];
    guest.written.clear();
    for (const { guestAddress, size } of ranges) await copy(Number(guestAddress), size);
    for (const page of pages) await copy(page * PAGE, PAGE);
    fromLog += ranges.length;
  };
  for (let i = 0; i < 5; i++) {
    const { received } = guest;
    await until(() => {
      traffic();
      return guest.received > received + 20;
    }, 'frames between two rounds');
    await round();
  }
  expect(fromLog).toBeGreaterThan(10);

  // In the middle of it: frames on their way both ways, and vectors that are masked.
  host.send(32);
  guest.send(guest.sent + 32);
  guest.maskAll(true);
  host.send(16);
  guest.pause();
  const before = { received: guest.received };
  const all = { received: host.sent + AFTER, sent: guest.sent + AFTER };
  const state = JSON.stringify(await transport.stop());
  expect(backend.running).toBe(false);
  await round();
  host.send(BURST);
  expect(host.sent).toBeGreaterThan(guest.received + BURST);
  const { state: its } = guest;
  await target.send({
    ...{ kind: 'start', state, guest: its },
    ...{ receive: all.received, send: all.sent },
  });
  expect((await target.says('copied')).digest).toBe(digestOf(memory));

  const done = await target.says('done', () => {
    if (host.sent < all.received) host.send(Math.min(4, all.received - host.sent));
    host.take();
  });
  expect(done).toMatchObject(all);
  await until(() => {
    host.take();
    return host.received === all.sent;
  }, 'the last of the guest’s frames');
  // It took none that came after it stopped.
  expect(guest.received).toBe(before.received);
});
