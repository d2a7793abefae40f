import { describe } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { marksWhatItWrites } from '../support/conformance-dirty-log.js';
import { survivesHostileRings } from '../support/conformance-hostile.js';
import { IN_PROCESS, KERNEL } from '../support/conformance-kinds.js';
import { movesState, startsAndStops } from '../support/conformance-lifecycle.js';
import { takesBuffersOverRegions } from '../support/conformance-regions.js';
import { refusesWhatCannotBe } from '../support/conformance-start.js';
import { carriesFrames } from '../support/conformance-traffic.js';

holdNothingLeaks();

carriesFrames(KERNEL);
takesBuffersOverRegions(KERNEL);
startsAndStops(KERNEL);
marksWhatItWrites(KERNEL);
refusesWhatCannotBe(KERNEL);
survivesHostileRings(KERNEL);

describe('state that moves', () => {
  movesState(KERNEL, KERNEL);
  movesState(KERNEL, IN_PROCESS);
  movesState(IN_PROCESS, KERNEL);
});
