#!/usr/bin/env node
/**
 * `npm run test:valgrind`: every function of the addon under valgrind's memcheck. First of all bugs made
 * on purpose must be detected. Without its compilers Node gives no false alarm, so nothing is suppressed.
 */
import { join } from 'node:path';
import { provesItself, runsClean, stage } from './stage.js';

/** Calls of each function; under valgrind everything takes fifty times as long. */
const CALLS = '30';
/** What each bug is called in a report. */
const BUGS = {
  overflow: /Invalid write of size 1/,
  useAfterFree: /Invalid read of size 1/,
  uninitialized: /depends on uninitialised value/,
  leak: /4,242 bytes in 1 blocks are definitely lost/,
};

const withErrors = (report: string) =>
  / ERROR SUMMARY: 0 errors /.test(report) ? undefined : report;
const copy = await stage('valgrind', ['-g', '-O1'], withErrors);
const node = [
  ...['valgrind', '--smc-check=all-non-file', `--log-file=${join(copy.reports, 'report.%p')}`],
  ...['--leak-check=full', '--show-leak-kinds=definite', '--errors-for-leak-kinds=definite'],
  ...['--num-callers=30', process.execPath, '--jitless'],
];
const proven = provesItself(copy, BUGS, node, {});
const clean = runsClean(copy, [...node, 'dist/tools/memcheck/exercise.js', CALLS], {}) && proven;
process.stdout.write(clean ? '\nclean\n' : '\nNOT clean\n');
process.exitCode = clean ? 0 : 1;
