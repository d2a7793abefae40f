/**
 * Runs the cases on a machine that has what they need. `machine.ts` starts it, here or in a virtual machine:
 * `node run.js vhost|user FILE full|quick [PATTERN]`. The report goes to FILE, a line for each case to the output.
 */
import { writeFileSync } from 'node:fs';
import { allCases } from './cases/index.js';
import { FULL, QUICK } from './options.js';
import { type Result, reportOf } from './report.js';
import { Stage } from './stage.js';
import { userCases } from './user/cases.js';

const [which, file = '', effort = 'full', pattern = ''] = process.argv.slice(2);
const quick = effort === 'quick';
const matching = new RegExp(pattern);
const cases = which === 'user' ? userCases(quick) : allCases(quick);
const chosen = cases.filter(({ name }) => matching.test(name));
const results: Result[] = [];
let stage = new Stage(quick ? QUICK : FULL);
for (const [i, { name, run }] of chosen.entries()) {
  process.stdout.write(`${i + 1}/${chosen.length} ${name}\n`);
  try {
    results.push(...(await run(stage)));
  } catch (error) {
    // The other cases are worth having all the same, with programs that are not in the middle of it.
    process.stderr.write(`bench: ${name}: ${(error as Error).message}\n`);
    process.exitCode = 1;
    stage.end();
    stage = new Stage(stage.effort);
  }
}
await stage.clear();
stage.end();
writeFileSync(file, JSON.stringify(reportOf(results)));
