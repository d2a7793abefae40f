/** The ratios as a drawing: one bar for each result, on a logarithmic axis, with a line at equality. */

import type { Report, Result } from './report.js';
import { quantity } from './table.js';

const WIDTH = 1150;
const LABELS = 400;
const NUMBERS = 330;
const ROW = 18;
const TOP = 64;
/** Ratios beyond these end at the edge. */
const LEAST = 0.1;
const MOST = 10;
const GOOD = '#2c7a4b';
const FAIR = '#c98a1b';
const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10];

/** An SVG document that needs nothing but itself. */
export function renderPlot({ host, kernel, node, results }: Report): string {
  const drawn = results.filter((result) => result.ratio !== null && result.ratio > 0);
  const groups = [...new Set(drawn.map(groupOf))];
  let y = TOP;
  const parts: string[] = [];
  for (const group of groups) {
    y += ROW;
    parts.push(text(16, y, escaped(group), 'font-weight="bold"'));
    for (const result of drawn.filter((one) => groupOf(one) === group)) {
      y += ROW;
      parts.push(bar(result, y));
    }
    y += ROW / 2;
  }
  const height = y + ROW;
  const axis = TICKS.map((tick) => {
    const x = place(tick);
    const line = `<line x1="${x}" y1="${TOP - 4}" x2="${x}" y2="${height - 12}" stroke="${tick === 1 ? '#222' : '#ddd'}"/>`;
    return line + text(x, TOP - 10, String(tick), 'text-anchor="middle" fill="#555"');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    text(16, 22, 'vhost-net for Node.js: ours by the baseline', 'font-size="16"'),
    text(16, 40, escaped(`${host}; Linux ${kernel}; Node ${node}`), 'fill="#555"'),
    ...axis,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function groupOf({ metric, better, baseline }: Result): string {
  return `${metric} by ${baseline.name} (${better === 'more' ? 'right' : 'left'} is better)`;
}

function bar(result: Result, y: number): string {
  const { ratio, better, ours, unit, baseline } = result;
  const value = ratio as number;
  const good = better === 'more' ? value >= 0.9 : value <= 1.1;
  const [from, to] = [place(1), place(value)];
  const x = Math.min(from, to);
  const width = Math.max(1, Math.abs(to - from));
  const numbers = `${value.toFixed(2)}   ${quantity(ours, unit)} : ${quantity(baseline.value, unit)}`;
  return [
    text(LABELS - 12, y, escaped(result.case), 'text-anchor="end"'),
    `<rect x="${x}" y="${y - 11}" width="${width}" height="13" fill="${good ? GOOD : FAIR}"/>`,
    text(WIDTH - NUMBERS + 12, y, escaped(numbers), 'fill="#333"'),
  ].join('');
}

/** Where a ratio is on the axis. */
function place(ratio: number): number {
  const bounded = Math.min(MOST, Math.max(LEAST, ratio));
  const part = Math.log(bounded / LEAST) / Math.log(MOST / LEAST);
  return Math.round(LABELS + part * (WIDTH - NUMBERS - LABELS));
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x}" y="${y}" ${attributes}>${content}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
