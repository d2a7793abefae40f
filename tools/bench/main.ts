#!/usr/bin/env node
/** `npm run bench`: measures the library beside others on the same vhost-net. */
import { writeFileSync } from 'node:fs';
import { runCases } from './machine.js';
import { parseOptions } from './options.js';
import { renderPlot } from './plot.js';
import { compilePrograms } from './programs.js';
import { progressOn } from './progress.js';
import { renderTable } from './table.js';

const options = parseOptions(process.argv.slice(2));
const progress = progressOn(process.stderr);
compilePrograms();
const report = await runCases(options, progress);
progress.end();
process.stdout.write(renderTable(report));
if (options.json) writeFileSync(options.json, `${JSON.stringify(report, undefined, 2)}\n`);
if (options.plot) writeFileSync(options.plot, renderPlot(report));
