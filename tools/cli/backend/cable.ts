/** A cable between the front-ends of two sockets: what one sends the other is given, in order. */
import { CableEnd } from './cable-end.js';
import type { Outlet } from './targets.js';

/** The outlets of the two sockets. */
export function cable(): [Outlet, Outlet] {
  const counts = { lost: 0 };
  const end = () =>
    new CableEnd((frames) => {
      counts.lost += frames;
    });
  const outlet = (own: CableEnd, other: CableEnd): Outlet => ({
    counts,
    serve: (device) => device.onFrames((frames, pair) => other.give(frames, pair)),
    started: (device) => own.started(device),
    stopped: (device) => own.stopped(device),
    close: async () => {},
  });
  const [near, far] = [end(), end()];
  return [outlet(near, far), outlet(far, near)];
}
