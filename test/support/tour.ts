/** The programs of docs/tour.md, run as they stand there. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { BUILT, MODULES } from './child.js';
import { cleanup } from './cleanup.js';
import { Run } from './cli.js';
import { codeBlocks } from './code-blocks.js';
import { textOf } from './sources.js';

const PAGE = 'docs/tour.md';

interface TourProgram {
  source: string;
  /** The lines of its output, as the page has them in a paragraph below. */
  prints: string[];
}

/** The program of a stage, 1 to 5. */
export function tourProgram(stage: number): TourProgram {
  const { source = '' } = codeBlocks(PAGE)[stage - 1] ?? {};
  const [, below = ''] = textOf(PAGE).split(source);
  const [, said = ''] = /^It prints ([\s\S]*?)\.?\n\n/m.exec(below) ?? [];
  const lines = said.replace(/\s+/g, ' ').matchAll(/`([^`]+)`/g);
  return { source, prints: [...lines].map(([, line]) => line as string) };
}

/** Runs it, and holds that it prints what the page says and ends well. */
export async function expectTour(stage: number): Promise<void> {
  const { source, prints } = tourProgram(stage);
  expect(prints.length).toBeGreaterThan(1);
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-tour-'));
  cleanup(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'program.mjs');
  // The VMM's modules have the library's beside them, and not the one file of all.
  const library = source.includes('/tools/vmm/') ? new URL('index.js', MODULES).href : BUILT;
  const built = source
    .replaceAll("'vhost-net'", `'${library}'`)
    .replaceAll("'./dist/tools/", `'${new URL('../tools/', MODULES).href}`);
  writeFileSync(file, built);
  const run = new Run(process.execPath, [file]);
  const ended = await run.ended;
  const { stderr } = run;
  const printed = run.stdout.trimEnd().split('\n');
  expect({ ...ended, stderr, printed }).toEqual({
    code: 0,
    signal: null,
    stderr: '',
    printed: prints,
  });
}
