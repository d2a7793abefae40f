// @ts-check
/** The native addon and the compiled TypeScript. */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { content, filesBelow, unlessDone } from './stamp.mjs';
import { exec, root, step } from './step.mjs';

export async function buildNative() {
  if (content('binding.gyp') === undefined) return;
  const sources = /\.(?:cc?|cpp|hh?|gypi?)$/;
  await unlessDone({
    stamp: 'build/.setup-stamp',
    product: 'build/Release/vhost_net.node',
    files: [
      'binding.gyp',
      'node_modules/node-addon-api/package.json',
      ...filesBelow('native', sources),
    ],
    // Node-API keeps a build working from one Node to the next, but not on another processor.
    also: process.arch,
    action: () =>
      step('native addon', () => exec('npm', ['run', '-s', 'build:native', '--', ...headers()])),
  });
}

/** The example VMM's own addon, which is no part of the package. */
export async function buildVmm() {
  await unlessDone({
    stamp: 'tools/vmm/build/.setup-stamp',
    product: 'tools/vmm/build/Release/vmm.node',
    files: [
      'tools/vmm/binding.gyp',
      'node_modules/node-addon-api/package.json',
      ...filesBelow('tools/vmm/native', /\.(?:cc|h)$/),
    ],
    also: process.arch,
    action: () =>
      step('VMM addon', () => exec('npm', ['run', '-s', 'build:vmm', '--', ...headers()])),
  });
}

/** Where this Node came with its headers, they need not be downloaded. */
function headers() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

export async function buildTypeScript() {
  const sources = [...filesBelow('lib', /\.ts$/), ...filesBelow('tools', /\.ts$/)];
  await unlessDone({
    stamp: 'dist/.setup-stamp',
    product: 'dist/.tsbuildinfo',
    files: ['tsconfig.json', 'tsconfig.build.json', 'tools/setup/bundle.mjs', ...sources],
    action: () =>
      step('TypeScript', async () => {
        removeOrphans(new Set(sources));
        await exec('npm', ['run', '-s', 'build:ts']);
      }),
  });
}

/**
 * Removes from dist what was compiled from files that are gone: it would still be imported, and
 * packed.
 * @param {Set<string>} sources
 */
function removeOrphans(sources) {
  const compiled = /\.(?:d\.ts|js)(?:\.map)?$/;
  for (const file of filesBelow('dist', compiled)) {
    const source = file.slice('dist/'.length).replace(compiled, '.ts');
    if (!sources.has(source)) rmSync(join(root, file));
  }
}
