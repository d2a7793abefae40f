import { holdNothingLeaks } from '../support/cleanup.js';
import { IN_PROCESS } from '../support/conformance-kinds.js';
import { takesBuffersOverRegions } from '../support/conformance-regions.js';
import { carriesFrames } from '../support/conformance-traffic.js';

holdNothingLeaks();

carriesFrames(IN_PROCESS);
takesBuffersOverRegions(IN_PROCESS);
