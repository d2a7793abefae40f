/** What the suites of test/support/conformance-*.ts hold every VhostBackend to, and what they need of one. */
import { expect } from 'vitest';
import type { Tap, VhostBackend } from '../../lib/index.js';
import { cleanup } from './cleanup.js';
import { checkFrameBytes, makeFrame } from './frames.js';
import { Rig, type RigOptions, type Segment, silentTap } from './rings.js';
import { Wire } from './wire.js';

/** An implementation of VhostBackend. */
export interface BackendKind {
  name: string;
  /** One that serves a pair of rings for each of these TAPs, which stay the caller's. */
  open(taps: readonly Tap[]): VhostBackend | Promise<VhostBackend>;
  /** Whose header its rings have: that of the queue, which must fit, or one of its own making. Default: the queue's. */
  header?: 'the queue’s' | 'its own';
  /** What makes it look again at a ring that it gave up. Default: a kick. */
  looksAgain?: 'when kicked' | 'when started';
}

export interface Bench {
  rig: Rig;
  wire: Wire;
}

/** Longest frame that goes over the wire, in bytes. */
const LONGEST = 65_600;

/** Rings that a backend of this kind could serve, and the wire at the other side of their TAP. */
export async function prepareBench(kind: BackendKind, options: RigOptions = {}): Promise<Bench> {
  const tap = silentTap(options.features ?? 1n << 32n);
  cleanup(() => tap.closeAsync());
  const served = await kind.open([tap]);
  const rig = Rig.prepare({ ...options, tap, served });
  const wire = new Wire(tap.interface.name, LONGEST);
  cleanup(() => wire.close());
  return { rig, wire };
}

/** As {@link prepareBench}, and they are served. */
export async function startBench(kind: BackendKind, options: RigOptions = {}): Promise<Bench> {
  const bench = await prepareBench(kind, options);
  await bench.rig.resume({ receive: 0, transmit: 0 });
  return bench;
}

/** One frame from the driver to the host. */
export async function out(
  { rig, wire }: Bench,
  segments: readonly Segment[],
  length: number,
  sequence: number,
): Promise<void> {
  rig.fill(segments, makeFrame(length, sequence));
  const head = rig.addReadable(segments);
  rig.transmit.publish();
  await wire.expect(1, () => length, sequence);
  expect(await rig.transmit.pop()).toBe(head);
  expect(rig.transmit.ring.usedLength).toBe(0);
}

/** Frames from the host, `first` to `first + count - 1`, whether there are buffers for them or not. */
export function arrive({ wire }: Bench, length: number, first: number, count = 1): Promise<void> {
  return wire.send(
    count,
    () => length,
    () => 0,
    { first },
  );
}

/** One frame from the host to the driver. */
export async function into(
  bench: Bench,
  segments: readonly Segment[],
  length: number,
  sequence: number,
): Promise<void> {
  const { rig } = bench;
  const head = rig.addWritable(segments);
  rig.receive.publish();
  await arrive(bench, length, sequence);
  expect(await rig.receive.pop()).toBe(head);
  const { usedLength } = rig.receive.ring;
  checkFrameBytes(rig.frame(segments, usedLength), length, sequence);
  expect(usedLength).toBe(rig.headerLength + length);
}

/** The frame that came in the next buffers, as many as its header says. */
export async function nextMerged(rig: Rig, buffers: readonly Segment[]): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let count = 1;
  for (let i = 0; i < count; i++) {
    await rig.receive.pop();
    const [address] = buffers[i] as Segment;
    parts.push(rig.memory.read(address, rig.receive.ring.usedLength));
    if (i === 0) count = new DataView((parts[0] as Uint8Array).buffer).getUint16(10, true);
  }
  return Uint8Array.from(Buffer.concat(parts));
}
