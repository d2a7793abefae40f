/** The last program of the tour. */
import { test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectTour } from '../support/tour.js';

holdNothingLeaks();

test('program 5 prints what the page says', () => expectTour(5));
