/**
 * From what the user calls a kernel, a line or a path, to its files.
 *
 * A line is downloaded once into `kernels/<line>/` of the cache:
 * `kernel.json` (release and package version), `vmlinuz`, and `lib/modules/RELEASE`.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type AptPackage, AptSuite } from './apt.js';
import { cacheDir, cached, exists } from './cache.js';
import { VmError } from './errors.js';
import { findLine, type KernelLine, lineMatch, METAPACKAGE } from './kernels.js';
import { run } from './process.js';
import type { Progress } from './progress.js';

export interface Kernel {
  /** What `uname -r` says in the guest. */
  release: string;
  /** Version of Debian's package; undefined for a kernel given by path. */
  version: string | undefined;
  image: string;
  /** The folder with `modules.dep`. */
  modulesDir: string;
}

export interface KernelOptions {
  progress: Progress;
  modulesDir?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** Packages that make up a kernel, whose names differ from one Debian release to the next. */
const KERNEL_PACKAGE = /^linux-(?:image|binary|modules|base)-.*\bamd64$/;

/** Drivers of real hardware that no test has, half of a kernel's modules by size. */
const UNUSED_MODULES = [
  'sound',
  'drivers/gpu',
  'drivers/media',
  'drivers/staging',
  'drivers/iio',
  'drivers/net/ethernet',
  'drivers/net/wireless',
  'drivers/scsi',
  'drivers/usb',
];

/** The kernel called `name`: a known line, downloaded if need be, or the path of an image. */
export async function findKernel(name: string, options: KernelOptions): Promise<Kernel> {
  const line = findLine(name);
  if (line !== undefined) return (await cachedKernel(line)) ?? download(line, options);
  if (!name.includes('/') && !(await exists(name))) {
    throw new VmError(
      `no kernel called ${name}: --list shows those known, or give the path of one`,
    );
  }
  return kernelAt(resolve(name), options.modulesDir);
}

/** The downloaded kernel of a line, or undefined. */
export async function cachedKernel(line: KernelLine): Promise<Kernel | undefined> {
  const folder = lineFolder(line);
  const text = await readFile(join(folder, 'kernel.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const { release, version } = JSON.parse(text) as { release: string; version: string };
  return {
    release,
    version,
    image: join(folder, 'vmlinuz'),
    modulesDir: join(folder, 'lib/modules', release),
  };
}

/** A kernel of the user's own: `vmlinuz-RELEASE`, or an image inside its modules folder. */
async function kernelAt(image: string, modulesDir: string | undefined): Promise<Kernel> {
  if (!(await exists(image))) throw new VmError(`${image} does not exist`);
  const beside = join(dirname(image), 'modules.dep');
  const named = /^(?:vmlinu[xz]|bzImage|linux)-(.+)$/.exec(basename(image))?.[1];
  const folder =
    modulesDir ?? ((await exists(beside)) ? dirname(image) : named && join('/lib/modules', named));
  if (!folder || !(await exists(join(folder, 'modules.dep')))) {
    throw new VmError(`no modules found for ${image}: name their folder with --modules-dir`);
  }
  return { release: basename(folder), version: undefined, image, modulesDir: resolve(folder) };
}

async function download(line: KernelLine, { progress, signal }: KernelOptions): Promise<Kernel> {
  const step = progress.step(`downloading kernel ${line.line} from Debian ${line.suite}`);
  try {
    await cached(lineFolder(line), (scratch) => make(line, scratch, progress, signal));
  } catch (error) {
    step.drop();
    throw error;
  }
  const kernel = await cachedKernel(line);
  if (kernel === undefined) throw new VmError(`${lineFolder(line)} has no kernel.json: remove it`);
  step.done(`kernel ${line.line} is ${kernel.release}`);
  return kernel;
}

/** Builds a line's cache folder inside `scratch`. */
async function make(
  line: KernelLine,
  scratch: string,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<string> {
  const apt = await AptSuite.open(line.suite, join(scratch, 'apt'), signal);
  const meta = await apt.show(line.metapackage ?? METAPACKAGE);
  const match = lineMatch(line.line, meta.version);
  if (match === 'older') {
    throw new VmError(`Debian ${line.suite} has only kernel ${meta.version}, not ${line.line}`);
  }
  if (match === 'newer')
    progress.note(`${line.suite} has moved on: ${line.line} is now ${meta.version}`);

  const root = join(scratch, 'root');
  await apt.unpack(await kernelPackages(apt, meta), root);

  const folder = join(scratch, 'kernel');
  const lib = (await exists(join(root, 'usr/lib/modules')))
    ? join(root, 'usr/lib')
    : join(root, 'lib');
  const [release] = await readdir(join(lib, 'modules'));
  if (release === undefined) throw new VmError(`${meta.name} ${meta.version} contains no modules`);
  const modules = join(folder, 'lib/modules');
  await mkdir(join(folder, 'lib'), { recursive: true });
  await rename(join(lib, 'modules'), modules);
  const inModules = join(modules, release, 'vmlinuz');
  const image = (await exists(inModules)) ? inModules : join(root, 'boot', `vmlinuz-${release}`);
  await rename(image, join(folder, 'vmlinuz'));
  for (const unused of UNUSED_MODULES) {
    await rm(join(modules, release, 'kernel', unused), { recursive: true, force: true });
  }
  // Packages carry no modules.dep; their installation scripts, which we do not run, would make it.
  await run('depmod', ['--basedir', folder, release], { signal });
  await writeFile(join(folder, 'kernel.json'), JSON.stringify({ release, version: meta.version }));
  return folder;
}

/** The packages behind a metapackage, at the very versions it asks for. */
async function kernelPackages(apt: AptSuite, meta: AptPackage): Promise<AptPackage[]> {
  const found = new Map<string, AptPackage>();
  const queue = [meta];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    for (const { name, version } of next.depends) {
      if (!KERNEL_PACKAGE.test(name) || found.has(name)) continue;
      const dependency = await apt.show(name, version);
      found.set(name, dependency);
      queue.push(dependency);
    }
  }
  return [...found.values()];
}

function lineFolder({ line }: KernelLine): string {
  return join(cacheDir(), 'kernels', line);
}
