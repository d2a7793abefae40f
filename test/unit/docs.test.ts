/** What the pages of docs/ promise: links that lead somewhere, and programs that are right. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { codeBlocks } from '../support/code-blocks.js';
import { filesUnder, ROOT, textOf } from '../support/sources.js';

/** The programs of a page: each block is one, or all together are. */
const PROGRAMS: Record<string, (blocks: string[]) => string[]> = {
  'docs/guide-network-programs.md': (blocks) => blocks,
  'docs/embedding.md': (blocks) => [blocks.join('\n')],
  'docs/tour.md': (blocks) => blocks,
};

/** What the compiler says of a module's source, which is taken to stand in the root folder. */
function complaints(sources: ReadonlyMap<string, string>): string[] {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2022.d.ts', 'lib.esnext.disposable.d.ts'],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ['node'],
    noEmit: true,
    strict: true,
    // The programs are JavaScript too: their parameters have no types.
    noImplicitAny: false,
    useUnknownInCatchVariables: false,
    skipLibCheck: true,
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (file) => sources.has(file) || fileExists(file);
  host.readFile = (file) => sources.get(file) ?? readFile(file);
  host.getSourceFile = (file, version, ...rest) => {
    const source = sources.get(file);
    return source === undefined
      ? getSourceFile(file, version, ...rest)
      : ts.createSourceFile(file, source, version);
  };
  const program = ts.createProgram([...sources.keys()], options, host);
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
    const line = file ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
    return `${file?.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
  });
}

test.each(Object.entries(PROGRAMS))(
  'every program of %s type-checks',
  {
    timeout: 120_000,
  },
  (page, programsOf) => {
    const blocks = codeBlocks(page);
    expect(blocks.length).toBeGreaterThan(4);
    const sources = new Map(
      programsOf(blocks.map(({ source }) => source)).map((source, i) => [
        join(ROOT, `program-${i}.mts`),
        source.replace("'vhost-net'", "'./lib/index.js'").replaceAll("'./dist/tools/", "'./tools/"),
      ]),
    );
    expect(complaints(sources)).toEqual([]);
  },
);

describe('links', () => {
  const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...filesUnder('docs', /\.md$/)];
  const written = pages.filter((page) => !page.startsWith('docs/api/'));

  test.each(written)('of %s lead to files', (page) => {
    const targets = [...textOf(page).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(
      ([, target]) => target as string,
    );
    const broken = targets.filter((target) => !existsSync(join(ROOT, dirname(page), target)));
    expect(broken).toEqual([]);
  });

  test('from the README lead to every page', () => {
    const readme = textOf('README.md');
    const missing = written.filter((page) => page !== 'README.md' && !readme.includes(`(${page})`));
    expect(missing).toEqual([]);
  });
});
