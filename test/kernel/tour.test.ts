/** The programs of the tour that need vhost-net. */
import { test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectTour } from '../support/tour.js';

holdNothingLeaks();

test.each([2, 4])('program %i prints what the page says', (stage) => expectTour(stage));
