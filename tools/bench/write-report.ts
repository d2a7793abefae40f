/** A report for people on the output, and in the files that were asked for. */
import { writeFileSync } from 'node:fs';
import type { CommonOptions } from './options.js';
import { renderPlot } from './plot.js';
import type { Report } from './report.js';
import { renderTable } from './table.js';

export function writeReport(report: Report, { json, plot }: CommonOptions): void {
  process.stdout.write(renderTable(report));
  if (json) writeFileSync(json, `${JSON.stringify(report, undefined, 2)}\n`);
  if (plot) writeFileSync(plot, renderPlot(report));
}
