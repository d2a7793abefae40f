/** The view as a table: a row for each port, and one for each queue pair whose rings are known. */
import { short } from '../numbers.js';
import { printable } from '../printable.js';
import type { PairView, PortView } from './view.js';

/** What is not known. */
const UNKNOWN = '-';
const NAME = 'TAP';
const COLUMNS = [
  { title: 'PID', width: 7 },
  { title: 'VHOST%', width: 6 },
  { title: 'RX FRAME/s', width: 10 },
  { title: 'BIT/s', width: 6 },
  { title: 'DROP/s', width: 6 },
  { title: 'TX FRAME/s', width: 10 },
  { title: 'BIT/s', width: 6 },
  { title: 'DROP/s', width: 6 },
  { title: 'KICK/F', width: 6 },
  { title: 'CALL/F', width: 6 },
  { title: 'RX FILL', width: 7 },
  { title: 'TX FILL', width: 7 },
] as const;

export interface Table {
  head: string;
  /** For each port, its own row and those of its pairs. */
  rows: readonly (readonly string[])[];
  nameWidth: number;
}

/** The first column has at least `least` characters; the others have their widths. */
export function table(ports: readonly PortView[], least = 0): Table {
  const names = ports.map(({ tap, program }) => `${tap} ${printable(program)}`);
  const width = Math.max(least, NAME.length, ...names.map((name) => name.length));
  const row = (name: string, cells: readonly string[]) =>
    [name.padEnd(width), ...COLUMNS.map((column, i) => (cells[i] ?? '').padStart(column.width))]
      .join('  ')
      .trimEnd();
  return {
    head: row(
      NAME,
      COLUMNS.map(({ title }) => title),
    ),
    rows: ports.map((port, i) => [
      row(names[i] as string, portCells(port)),
      ...(port.pairs ?? []).map((pair) => row(` pair ${pair.pair}`, pairCells(pair))),
    ]),
    nameWidth: width,
  };
}

function portCells({ pid, vhostCpu, rates, pairs }: PortView): string[] {
  const cells = [String(pid), vhostCpu === null ? UNKNOWN : vhostCpu.toFixed(1)];
  if (rates) {
    cells.push(number(rates.rxFrames), number(rates.rxBits), number(rates.rxDropped));
    cells.push(number(rates.txFrames), number(rates.txBits), number(rates.txDropped));
  }
  while (cells.length < COLUMNS.length - (pairs ? 4 : 0)) cells.push(UNKNOWN);
  return cells;
}

function pairCells(pair: PairView): string[] {
  const each = (value: number | null) => (value === null ? UNKNOWN : value.toFixed(3));
  const percent = (share: number) => `${Math.round(share * 100)}%`;
  return [
    ...['', '', number(pair.rxFrames), number(pair.rxBits), ''],
    ...[number(pair.txFrames), number(pair.txBits), ''],
    ...[each(pair.kicksPerFrame), each(pair.callsPerFrame)],
    ...[percent(pair.rxFill), percent(pair.txFill)],
  ];
}

function number(value: number): string {
  return short(value).trimEnd();
}
