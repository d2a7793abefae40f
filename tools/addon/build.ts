/** Builds the addon in a folder of its own, for another processor or with other flags. */
import { createHash } from 'node:crypto';
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../test-vm/process.js';
import { progressOn } from '../test-vm/progress.js';
import { type Arch, nodeFiles } from './node-lines.js';

/** The package's folder; this file runs from `dist/tools/addon/`, or from `tools/addon/` in a test. */
export const ROOT = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../' : '../../../', import.meta.url),
);
/** Where a build leaves the addon, from its folder. */
export const ADDON = 'build/Release/vhost_net.node';

/** What compilers for another processor are named after. */
const TRIPLES: Readonly<Record<Arch, string>> = {
  x64: 'x86_64-linux-gnu',
  arm64: 'aarch64-linux-gnu',
};

export interface AddonBuild {
  /** What the build is for: the name of its folder. */
  name: string;
  arch: Arch;
  /** For the compiler and the linker both. */
  flags?: readonly string[];
  /** A second addon, of one source file: its name and the file, from the package's folder. */
  beside?: { name: string; source: string };
}

/**
 * Builds the addon below `build/NAME/`, against the oldest Node's headers, and returns that folder.
 * Does nothing where it was built of the same sources. Throws with the compiler's words.
 */
export async function buildAddon(build: AddonBuild): Promise<string> {
  const folder = join(ROOT, 'build', build.name);
  const stamp = join(folder, 'stamp');
  const wanted = fingerprint(build);
  if (read(stamp) === wanted) return folder;
  const step = progressOn(process.stderr, 'setup').step(`native addon for ${build.name}`);
  rmSync(folder, { recursive: true, force: true });
  copySources(folder, build.beside);
  const { headers } = await nodeFiles('20', build.arch);
  const foreign = build.arch !== process.arch;
  const prefix = foreign ? `${TRIPLES[build.arch]}-` : '';
  const flags = (build.flags ?? []).join(' ');
  const gyp = join(ROOT, 'node_modules/node-gyp/bin/node-gyp.js');
  await run(
    process.execPath,
    [gyp, 'rebuild', `--arch=${build.arch}`, `--nodedir=${headers}`, '-j', 'max'],
    {
      cwd: folder,
      env: {
        ...{ CC: `${prefix}gcc`, CXX: `${prefix}g++`, AR: `${prefix}ar` },
        ...{ CFLAGS: flags, CXXFLAGS: flags, LDFLAGS: flags },
      },
    },
  );
  writeFileSync(stamp, wanted);
  step.done();
  return folder;
}

function copySources(folder: string, beside: AddonBuild['beside']): void {
  mkdirSync(folder, { recursive: true });
  for (const name of ['native', 'package.json']) {
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const gyp = JSON.parse(readFileSync(join(ROOT, 'binding.gyp'), 'utf8')) as { targets: object[] };
  if (beside) {
    const source = `native/${beside.name}.cc`;
    cpSync(join(ROOT, beside.source), join(folder, source));
    gyp.targets.push({ target_name: beside.name, sources: [source] });
  }
  writeFileSync(join(folder, 'binding.gyp'), JSON.stringify(gyp));
}

/** Of everything that the result depends on. */
function fingerprint(build: AddonBuild): string {
  const hash = createHash('sha256').update(JSON.stringify(build));
  const native = readdirSync(join(ROOT, 'native')).sort();
  const files = [
    ...['binding.gyp', 'node_modules/node-addon-api/package.json'],
    ...native.map((name) => `native/${name}`),
    ...(build.beside ? [build.beside.source] : []),
  ];
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(ROOT, file)));
  return hash.digest('hex');
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
