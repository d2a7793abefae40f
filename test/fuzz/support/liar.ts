/**
 * The device that lies: one change of shared memory at a time, of all that a device can write. Most are
 * such that the ring lives on, so that what a lie leaves behind is seen, too.
 */
import type { Chain, Observer } from './observer.js';
import type { Random } from './random.js';
import { data } from './ring-memory.js';

/** Changes the memory; returns what it did, for the trace. */
export type Mutation = (random: Random, observer: Observer) => string;

/** Chains that the device has and did not give back in an element that the driver has yet to read. */
function withDevice({ chains, words, usedNext, usedSeen }: Observer): Chain[] {
  const list = chains.filter((chain): chain is Chain => chain?.shown === true);
  for (let at = usedNext; at !== usedSeen; at = (at + 1) & 0xffff) {
    const id = words.used32[1 + 2 * (at & (words.size - 1))];
    const index = list.findIndex(({ head }) => head === id);
    if (index >= 0) list.splice(index, 1);
  }
  return list;
}

/** Gives back one or more chains, in any order, and shows it. */
const giveBack: Mutation = (random, observer) => {
  const { words, usedSeen } = observer;
  const list = withDevice(observer);
  const count = list.length === 0 ? 0 : random.between(1, list.length);
  for (let i = 0; i < count; i++) {
    const [chain] = list.splice(random.chance(700) ? 0 : random.below(list.length), 1);
    const { head, room } = chain as Chain;
    words.setUsed(usedSeen + i, head, random.chance(500) ? room : random.below(room + 1));
  }
  words.usedIndex = usedSeen + count;
  return `gives back ${count}`;
};

/** Shows one element that holds `id` and `length`. */
function giveBackThat({ words, usedSeen }: Observer, id: number, length: number): string {
  words.setUsed(usedSeen, id, length);
  words.usedIndex = usedSeen + 1;
  return `gives back ${id} with ${length} bytes`;
}

const strangeHead: Mutation = (random, observer) =>
  giveBackThat(
    observer,
    random.edge(observer.words.size),
    random.chance(500) ? 0 : random.below(64),
  );

const strangeLength: Mutation = (random, observer) => {
  const list = withDevice(observer);
  if (list.length === 0) return strangeIndex(random, observer);
  const { head, room } = random.pick(list);
  return giveBackThat(observer, head, random.edge(room));
};

/** The head of a chain twice, or a descriptor in the middle of one. */
const again: Mutation = (random, observer) => {
  const { chains, words, usedSeen } = observer;
  const any = chains.filter((chain): chain is Chain => chain !== undefined);
  if (any.length === 0) return giveBackThat(observer, random.below(words.size), 0);
  const { descriptors } = random.pick(any);
  const id = random.pick(descriptors);
  words.setUsed(usedSeen, id, 0);
  words.setUsed(usedSeen + 1, id, 0);
  words.usedIndex = usedSeen + 2;
  return `gives back ${id} twice`;
};

const strangeIndex: Mutation = (random, { words, usedSeen, shown }) => {
  const by = random.pick([
    -1,
    1,
    shown,
    shown + 1,
    words.size,
    words.size + 1,
    0x8000,
    random.u32(),
  ]);
  words.usedIndex = usedSeen + by;
  return `used.idx by ${by & 0xffff}`;
};

/** What the driver saw announced and has not read yet changes under it. */
const changeAnnounced: Mutation = (random, { words, usedNext, usedSeen }) => {
  const count = (usedSeen - usedNext) & 0xffff;
  if (count === 0) return 'nothing';
  const at = usedNext + random.below(count);
  words.setUsed(at, random.edge(words.size), random.edge(64));
  return `element ${at & 0xffff} changes`;
};

const scribble =
  (name: string, words: (observer: Observer) => Uint16Array | Uint32Array): Mutation =>
  (random, observer) => {
    const target = words(observer);
    if (target.length === 0) return 'nothing';
    if (random.chance(100)) {
      target.fill(random.pick([0, 0xffff_ffff, random.u32()]));
      return `${name} are filled`;
    }
    const at = random.below(target.length);
    target[at] = random.edge(observer.words.size);
    return `word ${at} of ${name} is ${target[at]}`;
  };

const scribbleDescriptors = scribble('the descriptors', ({ words }) => words.desc);
const scribbleAvail = scribble('the avail ring', ({ words }) => words.avail);
const scribbleUsed = scribble('the used ring', ({ words }) => words.used16);
const scribbleTables = scribble('the tables', ({ words, tableLength }) =>
  words.tables.subarray(0, 4 * words.size * tableLength),
);

const notify: Mutation = (random, { words, availShown }) => {
  words.availEvent = random.chance(500) ? availShown + random.between(-2, 2) : random.u32();
  words.used16[0] = random.chance(500) ? random.below(2) : random.u32();
  return `avail_event ${words.availEvent}, flags ${words.used16[0]}`;
};

const scribbleData: Mutation = (random) => {
  const at = random.below(data.length);
  data.fill(random.u32(), at, at + random.below(256));
  return `data at ${at}`;
};

const SPARING = [notify, scribbleAvail, scribbleTables, scribbleData];
const HARMLESS = [...SPARING, scribbleDescriptors];
const HARMFUL = [
  ...[strangeHead, strangeLength, strangeIndex, again],
  ...[changeAnnounced, scribbleUsed],
];

/** One change; `lies` of a thousand are such that the ring breaks, most times. */
export function mutate(random: Random, observer: Observer, lies: number): string {
  return change(random, observer, lies, HARMLESS);
}

/**
 * As {@link mutate}, but for the descriptors: where a driver shows a chain once more, what the device
 * wrote over its descriptors is still there, and hurts the device alone.
 */
export function mutateSparing(random: Random, observer: Observer, lies: number): string {
  return change(random, observer, lies, SPARING);
}

function change(
  random: Random,
  observer: Observer,
  lies: number,
  harmless: readonly Mutation[],
): string {
  if (random.chance(lies)) return random.pick(HARMFUL)(random, observer);
  return (random.chance(600) ? giveBack : random.pick(harmless))(random, observer);
}
