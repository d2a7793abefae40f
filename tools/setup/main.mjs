// @ts-check
/**
 * Brings a fresh clone, or one that has changed, to where the next command can run: npm packages,
 * the native addon, the compiled TypeScript, and with a flag what the machine itself must have.
 * Says nothing when there is nothing to do. Needs only Node, for it runs before `npm ci`.
 *
 * `node tools/setup/main.mjs [--vm | --tests | --demo | --demo-vmm | --bench | --bench-user | --vmm | --package |
 *   --peers | --valgrind]`
 */
import { buildNative, buildTypeScript, buildVmm } from './build.mjs';
import { installPackages } from './npm.mjs';
import { checkPlatform, hasVhostNet } from './platform.mjs';
import { requirePrograms } from './programs.mjs';
import { exec, fail } from './step.mjs';

/** @type {Record<string, () => string[]>} What each flag needs, by the names in `programs.mjs`. */
const NEEDS = {
  '--vm': () => ['vm'],
  '--tests': () => ['vm', 'net', 'guest', 'tests', 'package', 'dpdk', 'peers'],
  '--package': () => ['package'],
  '--peers': () => ['vm', 'net', 'dpdk', 'peers'],
  '--valgrind': () => ['valgrind'],
  '--demo': () => (hasVhostNet() ? ['net'] : ['vm', 'net']),
  '--vmm': () => ['net'],
  '--demo-vmm': () => ['vm', 'net'],
  '--bench': () => (hasVhostNet() ? ['bench'] : ['vm', 'bench']),
  '--bench-user': () => ['bench', 'dpdk'],
};

/** Those that need the VMM's addon too. */
const WITH_VMM = ['--vmm', '--demo-vmm', '--tests'];

const flags = process.argv.slice(2);
const unknown = flags.find((flag) => !Object.hasOwn(NEEDS, flag));
if (unknown !== undefined) {
  fail(`unknown argument ${unknown}; usage: main.mjs [${Object.keys(NEEDS).join(' | ')}]`);
}

checkPlatform();
const groups = new Set(flags.flatMap((flag) => NEEDS[flag]?.() ?? []));
await requirePrograms(['build', ...groups]);
await installPackages();
await buildNative();
if (WITH_VMM.some((flag) => flags.includes(flag))) await buildVmm();
await buildTypeScript();
if (flags.includes('--tests')) await fetchKernels();

/** The kernels that the tests run on; the tool itself knows what is there and shows its progress. */
async function fetchKernels() {
  const kernels = ['6.1', '6.12', '7.3', '6.1-cloud'].flatMap((line) => ['--kernel', line]);
  const args = ['dist/tools/test-vm/main.js', '--fetch', ...kernels];
  await exec(process.execPath, args, { show: true });
}
