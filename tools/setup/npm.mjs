// @ts-check
/** The packages in node_modules. */
import { content } from './stamp.mjs';
import { exec, step } from './step.mjs';

const QUIET = ['--no-audit', '--no-fund', '--loglevel=error'];

/** @typedef {{ packages?: Record<string, { version?: string, optional?: boolean }> }} Lock */

export async function installPackages() {
  const wanted = content('package-lock.json');
  const installed = content('node_modules/.package-lock.json');
  if (installed && isInstalled(wanted ? parse(wanted) : {}, parse(installed))) return;
  await step('npm packages', () =>
    // npm ci refuses a lock file made where the registry lacked packages for other platforms;
    // npm install takes the same versions from it.
    exec('npm', ['ci', ...QUIET]).catch(() => exec('npm', ['install', '--no-save', ...QUIET])),
  );
}

/**
 * Whether npm's record of what it put into node_modules has all that the lock file wants; optional
 * packages may be missing, for they are made for other platforms.
 * @param {Lock} wanted @param {Lock} installed
 */
export function isInstalled(wanted, installed) {
  return Object.entries(wanted.packages ?? {}).every(([path, { version, optional }]) => {
    const found = installed.packages?.[path];
    return path === '' || (found ? found.version === version : optional === true);
  });
}

/** @param {Buffer} json @returns {Lock} */
function parse(json) {
  return JSON.parse(json.toString());
}
