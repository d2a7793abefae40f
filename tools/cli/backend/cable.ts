/** A cable between the front-ends of two sockets: what one sends the other is given, in order. */
import type { Frame, VhostUserDevice } from '../../../lib/index.js';
import { give, type Outlet } from './targets.js';

/** The outlets of the two sockets. Of several front-ends of a socket the last that connected has the cable. */
export function cable(): [Outlet, Outlet] {
  const ends: (VhostUserDevice | undefined)[] = [undefined, undefined];
  const counts = { lost: 0 };
  const outlet = (own: number): Outlet => ({
    counts,
    serve(device) {
      ends[own] = device;
      device.onFrames((frames, pair) => forward(frames, pair, ends[1 - own]));
    },
    close: async () => {},
  });
  function forward(
    frames: readonly Frame[],
    pair: number,
    to: VhostUserDevice | undefined,
  ): void | Promise<void> {
    // The other guest may use fewer pairs.
    const by = to?.isActive(pair) ? pair : 0;
    if (!to?.isActive(by)) {
      counts.lost += frames.length;
      return;
    }
    const done = to.enqueue(frames, by);
    // Most bursts go at once; a promise is for those that wait.
    return done < frames.length ? give(to, frames.slice(done), by) : undefined;
  }
  return [outlet(0), outlet(1)];
}
