/** How `top` shows its views: a screen of its own on a terminal, lines or JSON elsewhere. */
import { fitLines, type Terminal } from '../live-block.js';
import { History, sparkline } from './sparkline.js';
import { table } from './table.js';
import type { PortView, View } from './view.js';

export interface Screen {
  show(view: View): void;
  /** Gives the terminal back as it was. */
  close(): void;
}

/** Most values of the history that is kept and drawn. */
const HISTORY = 60;
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';

export function jsonScreen(write: (text: string) => void): Screen {
  return {
    show({ seconds, ports }) {
      const time = new Date().toISOString();
      write(`${JSON.stringify({ time, seconds: Math.round(seconds * 1000) / 1000, ports })}\n`);
    },
    close: () => {},
  };
}

/** A line for each row, with the time; the head comes first, and again where the columns move. */
export function lineScreen(write: (text: string) => void): Screen {
  let head = '';
  let width = 0;
  return {
    show({ ports }) {
      const { head: now, rows, nameWidth } = table(ports, width);
      if (now !== head) write(`TIME      ${now}\n`);
      head = now;
      width = nameWidth;
      const time = new Date().toLocaleTimeString('en-GB');
      for (const row of rows.flat()) write(`${time}  ${row}\n`);
    },
    close: () => {},
  };
}

/** Draws on the terminal's second screen, and leaves the last table on the first. */
export function terminalScreen(terminal: Terminal, every: number): Screen {
  const history = new History(HISTORY);
  const names = (ports: readonly PortView[]) => ports.map(({ tap, pid }) => `${tap} ${pid}`);
  let last: string[] = [];
  let open = true;
  const draw = () => {
    const { columns, rows } = terminal.size();
    const lines = fitLines(last, columns, rows).map((line) => `${line}\x1b[K`);
    terminal.write(`\x1b[H${lines.join('\r\n')}\x1b[J`);
  };
  const close = () => {
    if (!open) return;
    open = false;
    process.off('exit', close);
    process.stdout.off('resize', draw);
    terminal.write(LEAVE);
    const { columns } = terminal.size();
    for (const line of last) terminal.write(`${line.slice(0, columns - 1)}\n`);
  };
  // Also where a second Ctrl-C ends the process at once.
  process.on('exit', close);
  process.stdout.on('resize', draw);
  terminal.write(ENTER);
  return {
    show({ ports }) {
      const named = names(ports);
      history.add(
        new Map(
          ports.map(({ rates }, i) => [
            named[i] as string,
            rates ? rates.rxFrames + rates.txFrames : 0,
          ]),
        ),
      );
      const { head, rows } = table(ports);
      const count = ports.length === 1 ? '1 port' : `${ports.length} ports`;
      const time = new Date().toLocaleTimeString('en-GB');
      last = [
        `vhost-net top  ${time}  ${count}, every ${every} s; Ctrl-C ends`,
        '',
        `${head}  HISTORY`,
      ];
      rows.forEach(([first = '', ...pairs], i) => {
        const line = first.padEnd(head.length);
        last.push(`${line}  ${sparkline(history.of(named[i] as string))}`, ...pairs);
      });
      if (ports.length === 0) last.push('no process that this user may look into uses vhost-net');
      draw();
    },
    close,
  };
}
