/** Results of a layer, and the table of all of them. */
import { readFileSync } from 'node:fs';
import type { ModuleResult } from './module-reporter.js';

/** One row of the table. */
export interface LayerResult {
  layer: string;
  /** The version of Node, where it ran tests. */
  node: string;
  /** The kernel's release, where the layer depends on it. */
  kernel: string;
  passed: number;
  failed: number;
  skipped: number;
  /** What failed, by name. */
  failures: string[];
  seconds: number;
}

/** The files that a run has ended, in order; none if it wrote no report. */
export function readReport(report: string): ModuleResult[] {
  try {
    const lines = readFileSync(report, 'utf8').trim().split('\n');
    return lines.filter(Boolean).map((line) => JSON.parse(line) as ModuleResult);
  } catch {
    return [];
  }
}

/**
 * Counts of a report. A run that left none, ended in an error outside a test, or had no test counts
 * as a failure: silence is no success.
 */
export function countReport(
  report: string,
  exitCode: number,
): Pick<LayerResult, 'passed' | 'failed' | 'skipped' | 'failures'> {
  const counts = { passed: 0, failed: 0, skipped: 0, failures: [] as string[] };
  for (const { passed, failed, skipped, failures } of readReport(report)) {
    counts.passed += passed;
    counts.failed += failed;
    counts.skipped += skipped;
    counts.failures.push(...failures);
  }
  if (counts.failed === 0 && (exitCode !== 0 || counts.passed === 0)) {
    counts.failed = 1;
    counts.failures.push(`ended with ${exitCode} after ${counts.passed} tests that passed`);
  }
  return counts;
}

/** The rows' sums, under the name `all`. */
export function total(results: readonly LayerResult[]): LayerResult {
  const sum = (pick: (result: LayerResult) => number) =>
    results.reduce((before, result) => before + pick(result), 0);
  return {
    layer: 'all',
    node: '',
    kernel: '',
    passed: sum(({ passed }) => passed),
    failed: sum(({ failed }) => failed),
    skipped: sum(({ skipped }) => skipped),
    failures: results.flatMap(({ failures }) => failures),
    seconds: sum(({ seconds }) => seconds),
  };
}

const HEADINGS = ['layer', 'node', 'kernel', 'passed', 'failed', 'skipped', 'seconds'];

/** The table's cells, headings first, the sum last. */
export function tableRows(results: readonly LayerResult[]): string[][] {
  const row = ({ layer, node, kernel, passed, failed, skipped, seconds }: LayerResult) => [
    layer,
    node,
    kernel,
    ...[passed, failed, skipped].map(String),
    seconds.toFixed(0),
  ];
  return [HEADINGS, ...results.map(row), row(total(results))];
}

/** A line for each thing that failed: which layer, under which kernel or Node, and what. */
export function failureLines(results: readonly LayerResult[]): string[] {
  return results.flatMap(({ layer, kernel, node, failures }) =>
    failures.map((failure) => `failed: ${layer} ${kernel || node}: ${failure}`),
  );
}

/** The last line: what CI and people look for. */
export function closingLine(results: readonly LayerResult[]): string {
  const { passed, failed, skipped } = total(results);
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}
