/**
 * Runs the cases on a machine that has vhost-net. `main.ts` starts it, here or in a virtual machine:
 * `node run.js FILE full|quick [PATTERN]`. The report goes to FILE, a line for each case to the output.
 */
import { writeFileSync } from 'node:fs';
import { allCases } from './cases/index.js';
import { FULL, QUICK } from './options.js';
import { type Result, reportOf } from './report.js';
import { Stage } from './stage.js';

const [file = '', effort = 'full', pattern = ''] = process.argv.slice(2);
const quick = effort === 'quick';
const stage = new Stage(quick ? QUICK : FULL);
const matching = new RegExp(pattern);
const chosen = allCases(quick).filter(({ name }) => matching.test(name));
const results: Result[] = [];
for (const [i, { name, run }] of chosen.entries()) {
  process.stdout.write(`${i + 1}/${chosen.length} ${name}\n`);
  results.push(...(await run(stage)));
}
await stage.clear();
stage.end();
writeFileSync(file, JSON.stringify(reportOf(results)));
