/** What docs/architecture.md promises about the code: one direction, small files, strict types. */
import { isBuiltin } from 'node:module';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { filesUnder, type Import, importsOf, placesOf, textOf } from '../support/sources.js';

/** From the ground up; a folder imports from those before it and from itself. */
const LAYERS = [
  'ground',
  'uapi',
  'host',
  'vring',
  'net',
  'vhost',
  'in-process',
  'broker',
  'vhost-user',
  'device',
  'port',
  'index',
] as const;
/** Reasons for a file of more than 300 lines; there is none. */
const LONG_FILES: Record<string, string> = {};

const lib = filesUnder('lib', /\.ts$/);
const tools = filesUnder('tools', /\.ts$/);
const { dependencies } = JSON.parse(textOf('package.json')) as {
  dependencies: Record<string, string>;
};

/** The layer of a file of lib/: its folder, or what stands beside `index.ts` and carries all else. */
function layerOf(file: string): string {
  const [, folder, inside] = file.split('/') as [string, string, string?];
  if (inside !== undefined) return folder;
  return folder === 'index.ts' ? 'index' : 'ground';
}

/** Every import of `files` that `allowed` does not allow. */
function strangers(files: string[], allowed: (file: string, imported: Import) => boolean) {
  return files.flatMap((file) =>
    importsOf(file)
      .filter((imported) => !allowed(file, imported))
      .map(({ specifier }) => `${file} imports ${specifier}`),
  );
}

const isDependency = ({ specifier }: Import) => Object.hasOwn(dependencies, specifier);

test('there are sources to look at, and every folder of lib/ is a layer', () => {
  expect(lib.length).toBeGreaterThan(40);
  expect(tools.length).toBeGreaterThan(20);
  expect(lib.filter((file) => !(LAYERS as readonly string[]).includes(layerOf(file)))).toEqual([]);
});

describe('lib/', () => {
  test('imports in one direction', () => {
    const rank = (file: string) => (LAYERS as readonly string[]).indexOf(layerOf(file));
    expect(
      strangers(lib, (file, { target }) => target === undefined || rank(target) <= rank(file)),
    ).toEqual([]);
  });

  test('never imports index.ts, and nothing outside lib/', () => {
    expect(
      strangers(
        lib,
        (_, { target }) =>
          target === undefined || (target.startsWith('lib/') && target !== 'lib/index.ts'),
      ),
    ).toEqual([]);
  });

  test('imports files that exist, Node’s own modules, and declared dependencies', () => {
    expect(
      strangers(lib, (_, imported) =>
        imported.target === undefined
          ? imported.specifier.startsWith('node:') || isDependency(imported)
          : lib.includes(imported.target),
      ),
    ).toEqual([]);
  });

  test('has no two files that import each other in a ring', () => {
    const done = new Set<string>();
    const rings: string[] = [];
    const walk = (file: string, path: string[]) => {
      if (path.includes(file)) rings.push([...path.slice(path.indexOf(file)), file].join(' > '));
      if (path.includes(file) || done.has(file)) return;
      for (const { target } of importsOf(file)) if (target) walk(target, [...path, file]);
      done.add(file);
    };
    for (const file of lib) walk(file, []);
    expect(rings).toEqual([]);
  });
});

describe('tools/', () => {
  test('imports of the library only what users import', () => {
    expect(
      strangers(
        tools,
        (_, { target }) =>
          target === undefined || target === 'lib/index.ts' || target.startsWith('tools/'),
      ),
    ).toEqual([]);
  });

  test('has a command that imports only what is published with it', () => {
    const cli = tools.filter((file) => file.startsWith('tools/cli/'));
    expect(
      strangers(cli, (_, imported) =>
        imported.target === undefined
          ? isBuiltin(imported.specifier) || isDependency(imported)
          : imported.target === 'lib/index.ts' || imported.target.startsWith('tools/cli/'),
      ),
    ).toEqual([]);
  });
});

describe('the code', () => {
  const all = [...lib, ...tools];

  test('has no `any`', () => {
    const is = (node: ts.Node) => node.kind === ts.SyntaxKind.AnyKeyword;
    expect(all.flatMap((file) => placesOf(file, is))).toEqual([]);
  });

  test('has no default export', () => {
    const is = (node: ts.Node) =>
      ts.isExportAssignment(node) ||
      (node.kind === ts.SyntaxKind.DefaultKeyword && ts.isDeclarationStatement(node.parent)) ||
      (ts.isExportSpecifier(node) && node.name.text === 'default');
    expect(all.flatMap((file) => placesOf(file, is))).toEqual([]);
  });

  test('has no enum', () => {
    expect(all.flatMap((file) => placesOf(file, ts.isEnumDeclaration))).toEqual([]);
  });

  test('silences no checker', () => {
    const silenced = all.filter((file) => /@ts-(ignore|nocheck|expect-error)/.test(textOf(file)));
    expect(silenced).toEqual([]);
  });

  test('has no file of more than 300 lines without a reason', () => {
    const sources = ['lib', 'native', 'tools', 'test'].flatMap((folder) =>
      filesUnder(folder, /\.(ts|mjs|cc|c|h|S)$/),
    );
    const long = sources.filter((file) => textOf(file).trimEnd().split('\n').length > 300);
    expect(long).toEqual(Object.keys(LONG_FILES));
  });

  test('says at the top of every file of lib/ what it is', () => {
    const without = lib.filter((file) => {
      const text = textOf(file);
      const comment = text.indexOf('/**');
      const code = text.search(/^(export|const|class|function|interface|type) /m);
      return comment < 0 || (code >= 0 && code < comment);
    });
    expect(without).toEqual([]);
  });
});
