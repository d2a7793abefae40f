// @ts-check
/** Knows whether files changed since a step was last done, by their content. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from './step.mjs';

/**
 * Files below a folder of the repository whose names match, as paths from the repository, in order.
 * @param {string} folder @param {RegExp} pattern @returns {string[]}
 */
export function filesBelow(folder, pattern) {
  try {
    const entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile() && pattern.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
      .sort();
  } catch {
    return [];
  }
}

/**
 * Whether `file` is in the repository and can be read; its content.
 * @param {string} file @returns {Buffer | undefined}
 */
export function content(file) {
  try {
    return readFileSync(join(root, file));
  } catch {
    return undefined;
  }
}

/**
 * Does `action` unless it was done for the same inputs; the stamp says for which. Without a stamp,
 * a `product` newer than its inputs was made by hand, and will do.
 * @param {{ stamp: string, product: string, files: string[], also?: string,
 *   action: () => Promise<void> }} task
 */
export async function unlessDone({ stamp, product, files, also = '', action }) {
  const hash = createHash('sha256').update(also);
  for (const file of files) hash.update(`\0${file}\0`).update(content(file) ?? '');
  const now = hash.digest('hex');
  const before = content(stamp)?.toString();
  if (before === now) return;
  const madeByHand =
    before === undefined && files.every((file) => modified(file) < modified(product));
  if (!madeByHand) await action();
  mkdirSync(dirname(join(root, stamp)), { recursive: true });
  writeFileSync(join(root, stamp), now);
}

/**
 * When a file was last written, in ms; -1 if it is not there.
 * @param {string} file
 */
function modified(file) {
  return statSync(join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? -1;
}
