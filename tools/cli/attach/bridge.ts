/**
 * io: everything that one port receives goes out by the other, header and all. A port that has no room is
 * waited for: meanwhile the frames wait in the TAP behind the other port, and what that cannot hold the
 * kernel drops and counts. Frames for a port whose link is down are dropped and counted here, as a switch
 * does.
 */
import type { NetPort } from '../../../lib/index.js';
import { closeAtEnd, type Job, unlessGone } from './job.js';

/** Forwards until the end. Returns how many frames it dropped. */
export async function bridge(job: Job): Promise<number> {
  const [one, other] = job.ports as [NetPort, NetPort];
  const { count = Number.POSITIVE_INFINITY } = job.options;
  let received = 0;
  let dropped = 0;
  closeAtEnd(job);
  if (one.closed) return 0;
  const forward = async (from: NetPort, to: NetPort) => {
    for await (const frames of from) {
      job.pcap?.write(frames);
      await to.send(frames).catch((error) => {
        unlessGone(error);
        dropped += frames.length;
      });
      received += frames.length;
      if (received >= count) job.finish(`${count} frames were received`);
    }
  };
  await Promise.all([forward(one, other), forward(other, one)]);
  return dropped;
}
