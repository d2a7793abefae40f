import { holdNothingLeaks } from '../support/cleanup.js';
import { marksWhatItWrites } from '../support/conformance-dirty-log.js';
import { refusesWhatCannotBe, survivesHostileRings } from '../support/conformance-errors.js';
import { IN_PROCESS } from '../support/conformance-kinds.js';

holdNothingLeaks();

marksWhatItWrites(IN_PROCESS);
refusesWhatCannotBe(IN_PROCESS);
survivesHostileRings(IN_PROCESS);
