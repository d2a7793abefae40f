/** txonly: sends the same frames over and over, as fast as the device takes them. */
import { once } from 'node:events';
import type { NetPort } from '../../../lib/index.js';
import { txFrame } from '../forward/tx-frame.js';
import { farMac } from './host-side.js';
import type { Job } from './job.js';

/** With several queue pairs, so that each gets its share: a flow has one pair. */
const FLOWS = 64;

/** Sends from the hardware address `source` (6 bytes) to the host's side. */
export async function transmit(job: Job, source: Uint8Array): Promise<void> {
  const [port] = job.ports as [NetPort];
  const { pcap, signal } = job;
  const { txpkts, burst, queues, count = Number.POSITIVE_INFINITY } = job.options;
  const destination = farMac(port);
  const flows = Array.from({ length: queues > 1 ? FLOWS : 1 }, (_, flow) =>
    txFrame(txpkts, { destination, source, flow }),
  );
  const bursts = batches(flows, burst);
  let sent = 0;
  for (let turn = 0; !signal.aborted && sent < count; turn++) {
    if (!port.linkUp) {
      await once(port, 'link', { signal }).catch(() => {});
      continue;
    }
    const frames = bursts[turn % bursts.length] as Uint8Array[];
    const batch = count - sent < burst ? frames.slice(0, count - sent) : frames;
    await port.send(batch);
    pcap?.write(batch);
    sent += batch.length;
    // Signals, timers and reports are served between bursts.
    await new Promise(setImmediate);
  }
  if (sent >= count) job.finish(`${count} frames were sent`);
  if (port.linkUp) await port.flush();
}

/** Batches of `burst` frames that together send every flow as often as any other. */
export function batches<T>(flows: readonly T[], burst: number): T[][] {
  const rounds = burst % flows.length === 0 ? 1 : flows.length;
  return Array.from({ length: rounds }, (_, round) =>
    Array.from({ length: burst }, (_, i) => flows[(round * burst + i) % flows.length] as T),
  );
}
