/** Results of a layer, and the table of all of them. */
import { readFileSync } from 'node:fs';

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
  seconds: number;
}

/** The part of vitest's JSON report that is read here. */
interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  success: boolean;
  testResults: { status: string; assertionResults: unknown[] }[];
}

/**
 * Counts of a vitest report. A file that did not load, a run that left no report, ended in an error
 * outside a test, or had no test counts as a failure: silence is no success.
 */
export function countReport(
  file: string,
  exitCode: number,
): Pick<LayerResult, 'passed' | 'failed' | 'skipped'> {
  let report: VitestReport;
  try {
    report = JSON.parse(readFileSync(file, 'utf8')) as VitestReport;
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const broken = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  ).length;
  const passed = report.numPassedTests;
  let failed = report.numFailedTests + broken;
  if (failed === 0 && (exitCode !== 0 || passed === 0)) failed = 1;
  return { passed, failed, skipped: report.numPendingTests + report.numTodoTests };
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

/** The last line: what CI and people look for. */
export function closingLine(results: readonly LayerResult[]): string {
  const { passed, failed, skipped } = total(results);
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}
