/** Gives what a port receives to a forwarder, and sends its answers. */
import type { NetPort } from '../../../lib/index.js';
import type { Forwarder } from '../forward/forwarder.js';
import { closeAtEnd, type Job, unlessGone } from './job.js';

export async function answer(job: Job, forwarder: Forwarder): Promise<void> {
  const [port] = job.ports as [NetPort];
  const { pcap, options } = job;
  const { count = Number.POSITIVE_INFINITY } = options;
  closeAtEnd(job);
  if (port.closed) return;
  let received = 0;
  for await (const frames of port) {
    pcap?.write(frames);
    const replies = forwarder.answer(frames);
    pcap?.write(replies);
    if (replies.length > 0) await port.send(replies).catch(unlessGone);
    received += frames.length;
    if (received >= count) job.finish(`${count} frames were received`);
  }
}
