/** Node's own binaries and headers, one download for each line, from the npm packages that have them. */
import { join } from 'node:path';
import { cacheDir, cached, exists } from '../test-vm/cache.js';
import { run } from '../test-vm/process.js';
import { progressOn } from '../test-vm/progress.js';

/** The lines of Node that are supported, oldest first. */
export const NODE_LINES = ['20', '22', '24', '26'] as const;
export type NodeLine = (typeof NODE_LINES)[number];

/** The processors that the package has a binary for. */
export const ARCHITECTURES = ['x64', 'arm64'] as const;
export type Arch = (typeof ARCHITECTURES)[number];

export interface NodeFiles {
  /** The program. */
  binary: string;
  /** What node-gyp takes for `--nodedir`: a folder with `include/node`. */
  headers: string;
}

/** Node `line` for `arch`, from the cache or else from the registry. */
export async function nodeFiles(line: NodeLine, arch: Arch): Promise<NodeFiles> {
  const folder = join(cacheDir(), 'node', `${line}-${arch}`);
  if (!(await exists(folder))) {
    const step = progressOn(process.stderr, 'setup').step(`Node ${line} for ${arch}`);
    await cached(folder, (scratch) => download(line, arch, scratch));
    step.done();
  }
  return { binary: join(folder, 'bin/node'), headers: folder };
}

/** The Node of `line` for this machine: the one that runs this, where it is of that line. */
export async function nodeBinary(line: NodeLine): Promise<string> {
  if (process.versions.node.split('.')[0] === line) return process.execPath;
  return (await nodeFiles(line, hostArch())).binary;
}

/** This machine's processor. Throws where the package has no binary for it. */
export function hostArch(): Arch {
  const arch = ARCHITECTURES.find((each) => each === process.arch);
  if (arch === undefined) throw new Error(`there is no Node for ${process.arch} here`);
  return arch;
}

async function download(line: NodeLine, arch: Arch, scratch: string): Promise<string> {
  // Packed and not installed: npm installs nothing that is for another processor. This may be part of
  // another `npm pack`, whose options would hold here too.
  const own = ['--dry-run=false', '--pack-destination=.'];
  await run('npm', ['pack', '--silent', ...own, `node-linux-${arch}@${line}`], { cwd: scratch });
  const wanted = ['package/bin/node', 'package/include/node'];
  // Of the headers, OpenSSL's are most and needed by nobody here.
  const tar = `tar -xzf node-linux-${arch}-*.tgz --exclude='*/openssl' ${wanted.join(' ')}`;
  await run('sh', ['-c', tar], { cwd: scratch });
  return join(scratch, 'package');
}
