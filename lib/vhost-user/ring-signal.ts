/** The eventfds of a ring, as they come from a front-end, and what goes in their place. */
import { readlinkSync } from 'node:fs';
import { EventFd } from '../host/event-fd.js';

/** Where a ring's signals go: to an eventfd, over the socket, nowhere. */
export type Signal = EventFd | 'in-band' | undefined;

/** Signals, where there is an eventfd for it; returns `'in-band'` where it has to go over the socket. */
export function signalTo(signal: Signal): 'in-band' | undefined {
  if (!(signal instanceof EventFd)) return signal;
  signal.wake();
  return undefined;
}

/** A duplicate of a descriptor that came. What is no eventfd could block this process, or keep it busy. */
export function eventFdOf(fd: number): EventFd {
  const what = readlinkSync(`/proc/self/fd/${fd}`);
  if (what !== 'anon_inode:[eventfd]') throw new Error(`its descriptor is no eventfd but ${what}`);
  return EventFd.fromFd(fd);
}

export function closeSignal(signal: EventFd | string | undefined): void {
  if (signal instanceof EventFd) signal.close();
}
