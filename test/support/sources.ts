/** The project's own source files, as they are read by tests about the code itself. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, resolve } from 'node:path';
import ts from 'typescript';

export const ROOT = resolve(import.meta.dirname, '../..');

/** Paths from the root of every file under `folder`, sorted. */
export function filesUnder(folder: string, pattern: RegExp): string[] {
  const names = readdirSync(join(ROOT, folder), { recursive: true }) as string[];
  return names
    .map((name) => posix.join(folder, name))
    .filter((name) => pattern.test(name))
    .sort();
}

export function textOf(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

export interface Import {
  /** As it is written. */
  specifier: string;
  /** The source that it means, from the root, where it is a relative one. */
  target?: string;
}

/** What a TypeScript file imports, re-exports from, or loads. */
export function importsOf(file: string): Import[] {
  return ts.preProcessFile(textOf(file), true, true).importedFiles.map(({ fileName }) => {
    if (!fileName.startsWith('.')) return { specifier: fileName };
    const target = posix.join(dirname(file), fileName).replace(/\.js$/, '.ts');
    return { specifier: fileName, target };
  });
}

/** Where a TypeScript file has a node for which `is` holds, as `file:line`. */
export function placesOf(file: string, is: (node: ts.Node) => boolean): string[] {
  const source = ts.createSourceFile(file, textOf(file), ts.ScriptTarget.ESNext, true);
  const places: string[] = [];
  const visit = (node: ts.Node) => {
    if (is(node)) {
      places.push(`${file}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return places;
}
