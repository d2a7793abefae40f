/** A vhost-user front end and back end together are a VhostBackend like any other. */
import { describe } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { marksWhatItWrites } from '../support/conformance-dirty-log.js';
import { survivesHostileRings } from '../support/conformance-hostile.js';
import { IN_PROCESS, VHOST_USER } from '../support/conformance-kinds.js';
import { movesState, startsAndStops } from '../support/conformance-lifecycle.js';
import { takesBuffersOverRegions } from '../support/conformance-regions.js';
import { refusesWhatCannotBe } from '../support/conformance-start.js';
import { carriesFrames } from '../support/conformance-traffic.js';

holdNothingLeaks();

carriesFrames(VHOST_USER);
takesBuffersOverRegions(VHOST_USER);
startsAndStops(VHOST_USER);
marksWhatItWrites(VHOST_USER);
refusesWhatCannotBe(VHOST_USER);
survivesHostileRings(VHOST_USER);

describe('state that moves', () => {
  movesState(VHOST_USER, VHOST_USER);
  movesState(VHOST_USER, IN_PROCESS);
  movesState(IN_PROCESS, VHOST_USER);
});
