/** What package.json promises to those who install the package. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT, textOf } from '../support/sources.js';

interface Manifest {
  name: string;
  version: string;
  type: string;
  license: string;
  main: string;
  types: string;
  exports: Record<string, string | Record<string, string>>;
  bin: Record<string, string>;
  files: string[];
  engines: Record<string, string>;
  gypfile: boolean;
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  bundleDependencies: string[];
}

interface Lock {
  version: string;
  packages: Record<string, Partial<Manifest> & { resolved?: string; hasInstallScript?: boolean }>;
}

const manifest = JSON.parse(textOf('package.json')) as Manifest;
const lock = JSON.parse(textOf('package-lock.json')) as Lock;
const build = JSON.parse(textOf('tsconfig.build.json')) as {
  compilerOptions: { outDir: string; rootDir: string; declaration: boolean };
  include: string[];
};

/** What each program of one file is made of, both in `dist/`. */
const bundles = new Map(
  [...textOf('tools/setup/bundle.mjs').matchAll(/'(dist\/bin\/\S+)': '(dist\/\S+)'/g)].map(
    ([, made = '', from = '']) => [made, from],
  ),
);

/** The source of what is made in `dist/`, or the file itself. */
function sourceOf(path: string): string {
  const named = path.replace(/^\.\//, '');
  const plain = bundles.get(named) ?? named;
  if (!plain.startsWith('dist/')) return plain;
  return plain.slice('dist/'.length).replace(/(\.d\.ts|\.js)$/, '.ts');
}

/** Whether the repository has a file, or the build makes it of a file that it has. */
const isMade = (path: string) => existsSync(join(ROOT, sourceOf(path)));

const entries = (value: string | Record<string, string>): string[] =>
  typeof value === 'string' ? [value] : Object.values(value);

describe('the entry points', () => {
  test('are made by the build: lib/ and tools/ become dist/', () => {
    expect(build.compilerOptions).toMatchObject({
      outDir: 'dist',
      rootDir: '.',
      declaration: true,
    });
    expect(build.include).toEqual(['lib', 'tools']);
  });

  test.each([
    manifest.main,
    manifest.types,
    ...Object.values(manifest.exports).flatMap(entries),
    ...Object.values(manifest.bin),
  ])('%s has a source', (path) => {
    expect(path).toMatch(/^\.\//);
    expect(isMade(path), sourceOf(path)).toBe(true);
  });

  test('are the library and the manifest, and nothing of the inside', () => {
    expect(Object.keys(manifest.exports)).toEqual(['.', './package.json']);
    expect(manifest.exports['.']).toEqual({ types: manifest.types, default: manifest.main });
  });

  test('have one command of the package’s name, which Node runs', () => {
    expect(Object.keys(manifest.bin)).toEqual([manifest.name]);
    const [command] = Object.values(manifest.bin) as [string];
    expect(textOf(sourceOf(command))).toMatch(/^#!\/usr\/bin\/env node\n/);
  });
});

describe('the published files', () => {
  const addons = 'prebuilds/linux-*/vhost_net.node';
  const made = manifest.files.filter((file) => file !== addons && !file.startsWith('!'));

  test.each(made)('%s is there or made', (file) => {
    expect(isMade(file), sourceOf(file)).toBe(true);
  });

  test('hold every entry point', () => {
    const paths = [manifest.main, manifest.types, ...Object.values(manifest.bin)];
    for (const path of paths) {
      const holds = (file: string) => path === `./${file}` || path.startsWith(`./${file}/`);
      expect(manifest.files.some(holds)).toBe(true);
    }
  });

  test('hold the addons, and are packed only when those are made', () => {
    expect(manifest.files).toContain(addons);
    expect(manifest.scripts.prepack).toMatch(/dist\/tools\/package\/prebuild\.js$/);
    expect(isMade('./dist/tools/package/prebuild.js')).toBe(true);
  });

  test('hold what it takes to build the addon', () => {
    expect(manifest.files).toEqual(expect.arrayContaining(['native', 'binding.gyp']));
  });
});

describe('installing', () => {
  test('brings commander and debug, and nothing else', () => {
    expect(Object.keys(manifest.dependencies).sort()).toEqual(['commander', 'debug']);
    const installed = Object.entries(lock.packages)
      .filter(([path, entry]) => path !== '' && !('dev' in entry) && !('devOptional' in entry))
      .map(([path]) => path.replace('node_modules/', ''));
    expect(installed.sort()).toEqual(['commander', 'debug', 'ms']);
  });

  test('needs no registry: the dependencies are in the package', () => {
    expect(manifest.bundleDependencies).toEqual(Object.keys(manifest.dependencies));
  });

  test('runs no script, not even the one that npm makes of a binding.gyp', () => {
    const hooks = ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish', 'preprepare'];
    expect(hooks.filter((hook) => hook in manifest.scripts)).toEqual([]);
    expect(manifest.gypfile).toBe(false);
  });

  test('needs Node 20.19 or newer, and ES modules', () => {
    expect(manifest.engines).toEqual({ node: '>=20.19' });
    expect(manifest.type).toBe('module');
  });
});

describe('package-lock.json', () => {
  test('is of this manifest', () => {
    const { name, version, license, engines, bin } = manifest;
    const { dependencies, devDependencies, bundleDependencies } = manifest;
    expect(lock.version).toBe(version);
    expect(lock.packages['']).toMatchObject({
      name,
      version,
      license,
      dependencies,
      devDependencies,
      bundleDependencies,
      engines,
      bin: Object.fromEntries(
        Object.entries(bin).map(([command, path]) => [command, path.replace(/^\.\//, '')]),
      ),
    });
  });

  test('names no registry', () => {
    const named = Object.entries(lock.packages).filter(
      ([, { resolved }]) => resolved !== undefined,
    );
    expect(named).toEqual([]);
  });
});
