/** What is made of a layer's report: silence is no success, and what failed has a name. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { closingLine, countReport, failureLines, tableRows } from '../../tools/test/results.js';

const GOOD = { file: 'a.test.ts', passed: 3, failed: 0, skipped: 1, failures: [] };
const BAD = {
  file: 'b.test.ts',
  passed: 1,
  failed: 1,
  skipped: 0,
  failures: ['b.test.ts > it adds'],
};
const ROW = { layer: 'kernel', node: '20.0.0', kernel: '6.1.0', seconds: 1.4 };

function report(...files: object[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'report.json');
  writeFileSync(path, files.map((file) => `${JSON.stringify(file)}\n`).join(''));
  return path;
}

test('the files of a report are added up', () => {
  expect(countReport(report(GOOD, BAD), 1)).toEqual({
    ...{ passed: 4, failed: 1, skipped: 1 },
    failures: ['b.test.ts > it adds'],
  });
});

test('a run that left no report, had no test, or ended badly, has failed', () => {
  const named = { failed: 1, failures: [expect.stringMatching(/^ended with \d after \d tests/)] };
  expect(countReport('/nowhere/report.json', 0)).toMatchObject(named);
  expect(countReport(report(), 0)).toMatchObject(named);
  expect(countReport(report(GOOD), 1)).toMatchObject(named);
  expect(countReport(report(GOOD), 0)).toMatchObject({ failed: 0, failures: [] });
});

test('each failure is named with its kernel, or its Node, and all are counted at the end', () => {
  const results = [
    { ...ROW, ...countReport(report(GOOD, BAD), 1) },
    { ...ROW, layer: 'unit', kernel: '', ...countReport(report(BAD), 1) },
  ];
  expect(failureLines(results)).toEqual([
    'failed: kernel 6.1.0: b.test.ts > it adds',
    'failed: unit 20.0.0: b.test.ts > it adds',
  ]);
  expect(tableRows(results).at(-1)).toEqual(['all', '', '', '5', '2', '1', '3']);
  expect(closingLine(results)).toBe('5 passed, 2 failed, 1 skipped');
});
