/**
 * The other process of a migration: it gets a TAP as descriptor 3, a memory page by page and a card's state, and
 * goes on. It is a module of its own, which `node` runs.
 */
import { createHash } from 'node:crypto';
import {
  GuestMemory,
  KernelBackend,
  Tap,
  VirtioNetDevice,
  type VirtioPciState,
  VirtioPciTransport,
} from '../../lib/index.js';
import { type GuestState, MAC, MEMORY_SIZE, MovingGuest } from './moving-guest.js';
import { PciDriver } from './pci-driver.js';

export type ToTarget =
  | { kind: 'pages'; at: number; bytes: Uint8Array }
  | { kind: 'start'; state: string; guest: GuestState; receive: number; send: number };
export type FromTarget =
  | { kind: 'ready' }
  | { kind: 'copied'; digest: string }
  | { kind: 'done'; received: number; sent: number }
  | { kind: 'failed'; reason: string };

export function digestOf(memory: GuestMemory): string {
  return createHash('sha256').update(memory.read(0n, MEMORY_SIZE)).digest('hex');
}

const tell = (message: FromTarget) => process.send?.(message);

/** Only in the child; the tests import the types and the digest. */
if (process.env.MIGRATION_TARGET) {
  const tap = Tap.fromFd(3);
  const memory = GuestMemory.create([{ guestAddress: 0n, size: MEMORY_SIZE }]);
  const backend = KernelBackend.open([tap]);
  const device = new VirtioNetDevice({ memory, backend, taps: [tap], mac: MAC });
  let guest: MovingGuest | undefined;
  const raised = new Set<number>();
  const transport = new VirtioPciTransport(device, {
    onMsi: (_, data) => {
      if (guest) guest.interrupt(data);
      else raised.add(data);
    },
  });

  const goOn = async ({ state, guest: its, receive, send }: ToTarget & { kind: 'start' }) => {
    tell({ kind: 'copied', digest: digestOf(memory) });
    await transport.start(JSON.parse(state) as VirtioPciState);
    guest = new MovingGuest(memory, new PciDriver(transport), its);
    for (const index of raised) guest.interrupt(index);
    guest.resume();
    guest.maskAll(false);
    const running = guest;
    const deadline = Date.now() + 60_000;
    while (running.received < receive || running.sent < send) {
      if (Date.now() > deadline) break;
      running.send(Math.min(send, running.sent + 8));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    // What it sent is on its way as long as the card runs.
    await new Promise((resolve) => setTimeout(resolve, 100));
    transport.close();
    await device.close();
    await backend.close();
    await tap.closeAsync();
    tell({ kind: 'done', received: running.received, sent: running.sent });
    process.disconnect();
  };

  process.on('message', (message: ToTarget) => {
    if (message.kind === 'pages') memory.write(BigInt(message.at), message.bytes);
    else {
      goOn(message).catch((error: unknown) => {
        tell({ kind: 'failed', reason: String((error as Error).stack) });
        process.exit(1);
      });
    }
  });
  tell({ kind: 'ready' });
}
