import { describe } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { IN_PROCESS } from '../support/conformance-kinds.js';
import { movesState, startsAndStops } from '../support/conformance-lifecycle.js';

holdNothingLeaks();

startsAndStops(IN_PROCESS);

describe('state that moves', () => {
  movesState(IN_PROCESS, IN_PROCESS);
});
