#!/usr/bin/env node
/**
 * `npm run test:sanitize`: the tests with the addon under AddressSanitizer, with leaks, and
 * UndefinedBehaviorSanitizer. First of all bugs made on purpose must be detected.
 *
 * `sanitize.js [--kernel LINE]`: with it the kernel layer, in the virtual machine, and nothing else.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../addon/build.js';
import { compilerLibrary, provesItself, runsClean, type Stage, stage } from './stage.js';

const FLAGS = [
  ...['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'],
  ...['-fno-omit-frame-pointer', '-g', '-O1'],
];
/** What each bug is called in a report. */
const BUGS = {
  overflow: /heap-buffer-overflow|insufficient space for an object/,
  useAfterFree: /heap-use-after-free/,
  leak: /leak of 4242 byte/,
  undefined: /signed integer overflow/,
};
const VITEST = ['node_modules/vitest/vitest.mjs', 'run', '--project'];
const VM = join(ROOT, 'dist/tools/test-vm/main.js');

/**
 * AddressSanitizer's reports go to files, and do not change exit codes: tests look at what their children
 * print and end with, and kill some. Undefined behaviour is told on stderr, and ends the process.
 */
function environment({ reports }: Stage): Record<string, string> {
  return {
    LD_PRELOAD: ['libasan.so', 'libubsan.so'].map(compilerLibrary).join(':'),
    ASAN_OPTIONS: `detect_leaks=1:exitcode=0:log_path=${join(reports, 'report')}`,
    UBSAN_OPTIONS: 'print_stacktrace=1',
  };
}

/** Frames that only pass on what somebody asked for. */
const ALLOCATORS = /libsanitizer|libstdc\+\+|\/c\+\+\//;
/** Frames of the addon, of what it is made of, and of the one full of bugs. */
const OURS = /\.\.\/native\/|node-addon-api|vhost_net\.node|bugs\.node/;

/**
 * A report without the leaks of others: V8 leaves much of its heap to the end of the process. A leak is
 * ours where our code asked for the memory. Undefined where nothing remains.
 */
function ofOurs(report: string): string | undefined {
  if (!report.includes('LeakSanitizer')) return report;
  const leaks = report.split(/\n\n(?=Direct|Indirect)/).filter((leak) => {
    const asker = leak.split('\n').find((line) => /^ +#/.test(line) && !ALLOCATORS.test(line));
    return asker !== undefined && OURS.test(asker);
  });
  return leaks.length > 0 ? leaks.join('\n\n') : undefined;
}

/** Whatever is to be watched. Returns whether all of it ended well, and nothing was reported. */
function watch(copy: Stage, env: Record<string, string>, kernel: string | undefined): boolean {
  const node = process.execPath;
  if (kernel === undefined) {
    const exercise = runsClean(copy, [node, 'dist/tools/memcheck/exercise.js', '300'], env);
    return runsClean(copy, [node, ...VITEST, 'unit', '--project', 'native'], env) && exercise;
  }
  const machine = ['--kernel', kernel, '--timeout', '3600', '--share', copy.reports];
  const inGuest = Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]);
  // The checker is for the guest's programs and not for QEMU.
  return runsClean(copy, [node, VM, ...machine, ...inGuest, '--', node, ...VITEST, 'kernel'], {});
}

const { values } = parseArgs({ options: { kernel: { type: 'string' } } });
const copy = await stage('sanitize', FLAGS, ofOurs);
const env = environment(copy);
const proven = provesItself(copy, BUGS, [process.execPath], env);
const clean = watch(copy, env, values.kernel) && proven;
process.stdout.write(clean ? '\nclean\n' : '\nNOT clean\n');
process.exitCode = clean ? 0 : 1;
