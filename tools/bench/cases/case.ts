import type { Result } from '../report.js';
import type { Stage } from '../stage.js';

/** Something to measure. */
export interface Case {
  /** As it begins in the results. */
  name: string;
  run(stage: Stage): Promise<Result[]>;
}
