/** The results for people: a table for each case and baseline. */
import type { Report } from './report.js';
import type { Share } from './ring/profile.js';

const HEADINGS = ['case', 'metric', 'ours', 'baseline', '', 'ratio', 'spread'];

/** The report as aligned columns, one line for each result; the case stands where it changes. */
export function renderTable({ host, kernel, node, results }: Report): string {
  let last = '';
  const rows = results.map((result) => {
    const fresh = result.case === last ? '' : result.case;
    last = result.case;
    return [
      fresh,
      result.metric,
      quantity(result.ours, result.unit),
      quantity(result.baseline.value, result.unit),
      result.baseline.name,
      result.ratio === null ? '–' : result.ratio.toFixed(2),
      `±${percent(result.spread)} ±${percent(result.baseline.spread)}`,
    ];
  });
  const lines = alignColumns([HEADINGS, ...rows], ['ours', 'baseline', 'ratio']);
  return [`${host}; Linux ${kernel}; Node ${node}`, '', ...lines, ''].join('\n');
}

/** Where time went, down to a hundredth of it. */
export function renderShares(shares: readonly Share[]): string {
  const lines = shares
    .filter(({ part }) => part >= 0.01)
    .map(({ place, part }) => `${percent(part).padStart(6)}  ${place}`);
  return ['', 'Where the time of ring send 64 B batch 32 goes:', '', ...lines, ''].join('\n');
}

/** A number with its unit, to four digits, grouped by thousands. */
export function quantity(value: number, unit: string): string {
  const digits = value >= 1000 || value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(value)));
  const number = value.toLocaleString('en', {
    minimumFractionDigits: 0,
    maximumFractionDigits: digits,
  });
  return `${number} ${unit}`.trimEnd();
}

function percent(part: number): string {
  return `${(100 * part).toFixed(0)} %`;
}

/** Pads cells to the width of their columns; those of the columns named are set to the right. */
function alignColumns(rows: readonly string[][], toTheRight: readonly string[]): string[] {
  const headings = rows[0] ?? [];
  const widths = headings.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const width = widths[i] ?? 0;
        return toTheRight.includes(headings[i] ?? '') ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd(),
  );
}
