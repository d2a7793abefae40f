#!/usr/bin/env node
/** `npm run bench:user`: measures what needs no vhost-net, beside DPDK and fs, on this host. */
import { runUserCases } from '../machine.js';
import { parseUserOptions } from '../options.js';
import { compilePrograms } from '../programs.js';
import { progressOn } from '../progress.js';
import { writeReport } from '../write-report.js';

const options = parseUserOptions(process.argv.slice(2));
const progress = progressOn(process.stderr);
compilePrograms();
const report = await runUserCases(options, progress);
progress.end();
writeReport(report, options);
