/**
 * A vitest reporter that writes one line for each test file when the file has ended: a run whose
 * machine dies keeps what it had, and what is left can be run on another.
 */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

/** The variable that names the file to append to; see `vitest.config.ts`. */
export const MODULES_FILE = 'VHOST_NET_TEST_MODULES';

/** A line, as JSON. */
export interface ModuleResult {
  /** Relative to the package's folder. */
  file: string;
  passed: number;
  failed: number;
  skipped: number;
  /** What failed, by name. */
  failures: string[];
}

/** Counts of one file. One that did not load, or has an error outside a test, has failed. */
function resultOf(module: TestModule): ModuleResult {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const file = module.relativeModuleId;
  const failures: string[] = [];
  for (const test of module.children.allTests()) {
    const result = test.result().state;
    const state = result === 'pending' ? 'failed' : result;
    counts[state]++;
    if (state === 'failed') failures.push(`${file} > ${test.fullName}`);
  }
  if (counts.failed === 0 && !module.ok()) {
    counts.failed = 1;
    failures.push(`${file}, outside a test`);
  }
  return { file, ...counts, failures };
}

export class ModuleReporter implements Reporter {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  onTestModuleEnd(module: TestModule): void {
    const file = openSync(this.#path, 'a');
    try {
      writeSync(file, `${JSON.stringify(resultOf(module))}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }
}
