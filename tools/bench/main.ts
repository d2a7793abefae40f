#!/usr/bin/env node
/** `npm run bench`: measures the library beside others on the same vhost-net. */
import type { Case } from './cases/case.js';
import { allCases } from './cases/index.js';
import { runCases } from './machine.js';
import { FULL, type Options, parseOptions, QUICK } from './options.js';
import { compilePrograms } from './programs.js';
import { type Progress, progressOn } from './progress.js';
import { type Result, reportOf } from './report.js';
import { ringCases } from './ring/cases.js';
import { profileRing } from './ring/profile.js';
import { renderShares } from './table.js';
import { writeReport } from './write-report.js';

const options = parseOptions(process.argv.slice(2));
const progress = progressOn(process.stderr);
compilePrograms();
// Before the virtual machine: nothing else may run beside it.
const ring = await runRing(options, progress);
const needsVhost = !options.ring && casesOf(options).length > 0;
const report = needsVhost ? await runCases(options, progress) : reportOf([]);
report.results.push(...ring);
const shares = options.ring ? await profileRing() : [];
progress.end();
writeReport(report, options);
if (shares.length > 0) process.stdout.write(renderShares(shares));

function casesOf({ quick, cases }: Options): Case[] {
  return allCases(quick).filter(({ name }) => cases?.test(name) ?? true);
}

async function runRing({ quick, cases }: Options, progress: Progress): Promise<Result[]> {
  const chosen = ringCases(quick).filter(({ name }) => cases?.test(name) ?? true);
  const results: Result[] = [];
  for (const { name, run } of chosen) {
    progress.show(name);
    results.push(...(await run(quick ? QUICK : FULL)));
  }
  return results;
}
