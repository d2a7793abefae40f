/** The driver end of a ring against a device that writes whatever it can, wherever it can. */
import { CheckedDriver } from './support/checked-driver.js';
import { mutate } from './support/liar.js';
import { Races } from './support/races.js';
import type { Random } from './support/random.js';
import { fuzz, see, type Target } from './support/run.js';

const SIZES = [1, 2, 4, 4, 8, 8, 16, 32, 256];
/** Of a thousand changes; the fewer, the older a ring becomes. */
const LIES = [300, 100, 20];
const STATES = 200;

const REACHES = [
  'publish and kick',
  'publish',
  'add # + #',
  'enableCalls #',
  'repost #',
  'repost # and one refused',
  'take many #',
  'the indices went round',
  ...[
    'it gave back # chains, # are in flight',
    'it gave back chain # of #',
    'it gave back chain #, which is not in flight',
    'it gave back chain #, of which it was not told',
    'it wrote # bytes to # in chain #',
  ].map((lie) => `pop: the device broke the ring: ${lie}`),
];

interface Kind {
  eventIdx: boolean;
  /** Descriptors of an indirect table: one of these, 0 for none. */
  tables: readonly number[];
  /** Whether the device writes while the driver reads. */
  races?: Races;
}

/** Rings of a kind, each made once: they share their memory, and every case begins with a reset. */
function playing({ eventIdx, tables, races }: Kind): Target['play'] {
  const rings = new Map<string, CheckedDriver>();
  const ringOf = (random: Random) => {
    const shape = { size: random.pick(SIZES), eventIdx, tableLength: random.pick(tables) };
    const key = `${shape.size} descriptors, tables of ${shape.tableLength}`;
    const ring = rings.get(key) ?? new CheckedDriver(shape, races?.seen);
    rings.set(key, ring);
    return { ring, key };
  };
  return (random, sights, trace) => {
    const { ring, key } = ringOf(random);
    const lies = random.pick(LIES);
    trace?.(`${key}, ${lies} lies in 1000`);
    // The indices go round at 65536.
    if (random.chance(20)) ring.age(65_536 - random.below(100));
    else ring.reset();
    let last = 0;
    for (let state = 0; state < STATES; state++) {
      const { observer } = ring;
      const change = mutate(random, observer, lies);
      trace?.(`${state}: the device ${change}`);
      const work = () => {
        for (let left = random.between(1, 4); left > 0; left--) {
          const did = ring.step(random);
          trace?.(`  ${did}`);
          see(sights, did.replace(/\d+/g, '#'));
        }
      };
      if (races) races.during({ random, observer, lies, trace }, work);
      else work();
      if (observer.usedNext < last) see(sights, 'the indices went round');
      last = observer.usedNext;
      // A broken one is tried a few times more.
      if (observer.broken && random.chance(500)) {
        ring.reset();
        last = 0;
      }
    }
    return STATES;
  };
}

const rings = (name: string, kind: Kind) =>
  fuzz({ name, states: 1_500_000, play: playing(kind), reaches: REACHES });

rings('ring-flags', { eventIdx: false, tables: [0] });
rings('ring-event-idx', { eventIdx: true, tables: [0] });
rings('ring-indirect', { eventIdx: true, tables: [2, 4, 8] });
rings('ring-races', { eventIdx: true, tables: [0, 4], races: new Races() });
rings('ring-flags-races', { eventIdx: false, tables: [0], races: new Races() });
