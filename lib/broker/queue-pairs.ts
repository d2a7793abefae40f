/** A TAP queue and a vhost device each: what a broker opens, and its client gets. */
import { readFileSync } from 'node:fs';
import { Tap } from '../host/tap.js';
import { IFF_MULTI_QUEUE } from '../uapi/tun.js';
import { VhostNet } from '../vhost/vhost-net.js';
import type { QueueRequest } from './protocol.js';

/** One queue pair, ready for `NetPort`, `KernelBackend` or another process's use. */
export interface BrokeredPair {
  tap: Tap;
  /** Without an owner yet: that is the process whose memory the rings are in. */
  vhost: VhostNet;
}

/** What is done to a TAP when queues of it are given away, because it takes rights. */
export interface TapSettings {
  /** Bring the interface up. */
  up: boolean;
  /** Bytes, from 68 to 65521; undefined leaves it. */
  mtu: number | undefined;
  /** Let the interface outlive its last queue. */
  persist: boolean;
}

/**
 * Opens queues of a TAP with their vhost devices: all, or none. Other work gets its turn between two.
 * Throws what `Tap.open` and `VhostNet.open` throw.
 */
export async function openPairs(
  { tap: name, queues }: QueueRequest,
  settings: TapSettings,
): Promise<BrokeredPair[]> {
  const multiQueue = queues > 1 || hasManyQueues(name);
  const pairs: BrokeredPair[] = [];
  try {
    while (pairs.length < queues) {
      const tap = Tap.open(name, { multiQueue });
      try {
        pairs.push({ tap, vhost: VhostNet.open() });
      } catch (error) {
        await tap.closeAsync();
        throw error;
      }
      await new Promise(setImmediate);
    }
    const [{ tap }] = pairs as [BrokeredPair];
    if (settings.mtu !== undefined) tap.interface.setMtu(settings.mtu);
    if (settings.up && !tap.interface.up) tap.interface.setUp();
    if (settings.persist) tap.setPersist(true);
    return pairs;
  } catch (error) {
    await closePairs(pairs);
    throw error;
  }
}

/** Closes this process's descriptors. The queues live on where another process has them. */
export async function closePairs(pairs: readonly BrokeredPair[]): Promise<void> {
  await Promise.all(pairs.flatMap(({ tap, vhost }) => [vhost.closeAsync(), tap.closeAsync()]));
}

/** Whether the interface exists and takes several queues; then every queue must say so. */
function hasManyQueues(name: string): boolean {
  try {
    const flags = Number(readFileSync(`/sys/class/net/${name}/tun_flags`, 'utf8'));
    return (flags & IFF_MULTI_QUEUE) !== 0;
  } catch {
    return false;
  }
}
