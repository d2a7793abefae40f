/**
 * Where downloaded kernels and built initramfs images stay: `$XDG_CACHE_HOME/vhost-net`.
 * Everything enters it by one rename, so that an interrupted run leaves no half of anything.
 */
import { access, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

export function cacheDir({ XDG_CACHE_HOME }: NodeJS.ProcessEnv = process.env): string {
  return join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'vhost-net');
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/**
 * `path`, made by `make` in a scratch folder beside it if it is not there yet.
 * `make` returns the file or folder, inside the scratch folder, that becomes `path`.
 * When two processes make the same thing, the first one's stays.
 */
export async function cached(
  path: string,
  make: (scratch: string) => Promise<string>,
): Promise<string> {
  if (await exists(path)) return path;
  const parent = join(path, '..');
  await mkdir(parent, { recursive: true });
  await removeAbandoned(parent);
  const scratch = await mkdtemp(join(parent, `.making-${process.pid}-`));
  try {
    const made = await make(scratch);
    await rename(made, path).catch(async (error: NodeJS.ErrnoException) => {
      if (!(await exists(path))) throw error;
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return path;
}

/** Scratch folders of processes that were killed. */
async function removeAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const pid = /^\.making-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || (await exists(`/proc/${pid}`))) continue;
    await rm(join(parent, name), { recursive: true, force: true });
  }
}
