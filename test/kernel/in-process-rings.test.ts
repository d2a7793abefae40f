import { holdNothingLeaks } from '../support/cleanup.js';
import { marksWhatItWrites } from '../support/conformance-dirty-log.js';
import { survivesHostileRings } from '../support/conformance-hostile.js';
import { IN_PROCESS } from '../support/conformance-kinds.js';
import { refusesWhatCannotBe } from '../support/conformance-start.js';

holdNothingLeaks();

marksWhatItWrites(IN_PROCESS);
refusesWhatCannotBe(IN_PROCESS);
survivesHostileRings(IN_PROCESS);
