/** A guest that does anything to its card, at any register, in any memory: nothing comes of it. */
import { HostileGuest } from './support/hostile-guest.js';
import { MmioBus } from './support/mmio-bus.js';
import { PciBus } from './support/pci-bus.js';
import { fuzz } from './support/run.js';

const REACHES = [
  'held vCPU',
  'backend asked',
  'needed a reset',
  'broke the control ring',
  'more pairs in use',
  'configuration changed',
];

fuzz({
  name: 'guest-mmio',
  states: 2_500_000,
  play: (random, sights, trace) =>
    new HostileGuest((...of) => new MmioBus(...of), random, sights, trace).live(),
  reaches: REACHES,
});
fuzz({
  name: 'guest-pci',
  states: 2_500_000,
  play: (random, sights, trace) =>
    new HostileGuest((...of) => new PciBus(...of), random, sights, trace).live(),
  reaches: REACHES,
});
