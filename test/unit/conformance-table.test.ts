/** docs/conformance.md names tests that there are, and every test of a paragraph. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { filesUnder, ROOT, textOf } from '../support/sources.js';

interface Row {
  paragraph: string;
  file: string;
  title: string;
}

const rows: Row[] = textOf('docs/conformance.md')
  .split('\n')
  .flatMap((line) => {
    const [, paragraph = '', , tests = ''] = line.split(' | ').length > 2 ? cells(line) : [];
    return [...tests.matchAll(/`([^`]+)`: "([^"]+)"/g)].map(([, file, title]) => ({
      paragraph,
      file: `test/${file}.test.ts`,
      title: title as string,
    }));
  });

function cells(line: string): string[] {
  return line.split('|').map((cell) => cell.trim());
}

/** Whether a file has a test of this title, or a case of one. */
function has(file: string, title: string): boolean {
  return existsSync(join(ROOT, file)) && textOf(file).includes(`'${title}'`);
}

test('every row’s test exists', () => {
  expect(rows.length).toBeGreaterThan(80);
  const missing = rows.filter(({ file, title }) => !has(file, title));
  expect(missing).toEqual([]);
});

test('every row has a paragraph, a requirement and a test', () => {
  const table = textOf('docs/conformance.md')
    .split('\n')
    .filter((line) => /^\| \d/.test(line));
  const short = table.filter((line) => {
    const [, , requirement = '', tests = ''] = cells(line);
    return requirement.length < 10 || !/^`[^`]+`: "[^"]+"(; `[^`]+`: "[^"]+")*$/.test(tests);
  });
  expect(short).toEqual([]);
});

test('every test of a paragraph has a row of that paragraph', () => {
  const files = filesUnder('test/unit', /\/conformance-.*\.test\.ts$/);
  const titles = files.flatMap((file) =>
    [...textOf(file).matchAll(/test(?:\.each\(.*?\))?\(\s*'(\d[\d.]*): ([^']+)'/g)].map(
      ([, paragraph, rest]) => ({ paragraph, file, title: `${paragraph}: ${rest}` }),
    ),
  );
  expect(titles.length).toBeGreaterThan(60);
  for (const title of titles) expect(rows).toContainEqual(title);
});
