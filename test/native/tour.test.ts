/** The programs of the tour that need no rights. */
import { test } from 'vitest';
import { expectTour } from '../support/tour.js';

test.each([1, 3])('program %i prints what the page says', (stage) => expectTour(stage));
