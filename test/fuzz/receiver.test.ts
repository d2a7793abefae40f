/** The receiving half of a port against a device that fills its buffers with anything. */
import { mutateSparing } from './support/liar.js';
import { Receiving, type ReceivingShape } from './support/receiving.js';
import { fuzz, see, type Target } from './support/run.js';

const STATES = 100;
const SHAPES: Pick<ReceivingShape, 'size' | 'bufferSize'>[] = [
  { size: 2, bufferSize: 128 },
  { size: 4, bufferSize: 65_600 },
  { size: 4, bufferSize: 2048 },
  { size: 8, bufferSize: 200 },
  { size: 16, bufferSize: 8192 },
  { size: 128, bufferSize: 128 },
];

function playing(mergeable: boolean): Target['play'] {
  return (random, sights, trace) => {
    const headerLength = mergeable
      ? random.pick([12, 20, 24] as const)
      : random.pick([10, 12] as const);
    const shape = { ...random.pick(SHAPES), headerLength, mergeable, eventIdx: random.chance(700) };
    const lies = random.pick([100, 30, 10]);
    trace?.(`${JSON.stringify(shape)}, ${lies} lies in 1000`);
    let receiving = new Receiving(shape);
    for (let state = 0; state < STATES; state++) {
      const change = random.chance(300)
        ? receiving.writeHeader(random)
        : mutateSparing(random, receiving.observer, lies);
      trace?.(`${state}: the device ${change}`);
      const did = receiving.turn(random, sights);
      trace?.(`  ${did}`);
      if (receiving.observer.broken && random.chance(700)) {
        see(sights, 'a broken ring');
        receiving = new Receiving(shape);
      }
    }
    return STATES;
  };
}

const REACHES = [
  'a frame of one buffer',
  'a frame shorter than its header',
  'a frame too short',
  'a frame too long',
  'a broken ring',
];

fuzz({ name: 'receive', states: 1_000_000, play: playing(false), reaches: REACHES });
fuzz({
  name: 'receive-merged',
  states: 1_000_000,
  play: playing(true),
  reaches: [...REACHES, 'a frame of several buffers', 'a frame of too many buffers'],
});
