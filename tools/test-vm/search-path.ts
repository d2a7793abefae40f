/** Finds a program as a shell would. */
import { access, constants, stat } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';

export function searchPath({ PATH = '' }: NodeJS.ProcessEnv): string[] {
  return PATH.split(delimiter).filter(Boolean);
}

/** The absolute path of the program called `name`, or undefined. */
export async function findProgram(
  name: string,
  folders: readonly string[],
  cwd: string,
): Promise<string | undefined> {
  const candidates = name.includes('/') ? [name] : folders.map((folder) => join(folder, name));
  for (const candidate of candidates) {
    const path = resolve(cwd, candidate);
    if (await isProgram(path)) return path;
  }
  return undefined;
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
