/** The transmitting half of a port against a device that gives back anything, in any order. */
import { mutate } from './support/liar.js';
import { fuzz } from './support/run.js';
import { Sending } from './support/sending.js';

const STATES = 100;

fuzz({
  name: 'send',
  states: 1_500_000,
  play: (random, sights, trace) => {
    const shape = {
      size: random.pick([1, 2, 4, 8, 16, 64]),
      room: random.pick([1024, 4096, 131_200]),
      headerLength: random.pick([10, 12, 20, 24] as const),
      eventIdx: random.chance(700),
    };
    const lies = random.pick([100, 30, 10]);
    trace?.(`${JSON.stringify(shape)}, ${lies} lies in 1000`);
    let sending = new Sending(shape);
    for (let state = 0; state < STATES; state++) {
      const change = mutate(random, sending.observer, lies);
      trace?.(`${state}: the device ${change}`);
      for (let left = random.between(1, 3); left > 0; left--) {
        const did = sending.step(random, sights);
        trace?.(`  ${did}`);
      }
      if (sending.observer.broken && random.chance(700)) sending = new Sending(shape);
    }
    return STATES;
  },
  reaches: [...['bytes', 'a frame with a header', 'a full ring', 'a full arena', 'a broken ring']],
});
