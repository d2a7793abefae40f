/** `vhost-net top [TAP…]`: what the ports of this host do. */
import { setTimeout as sleep } from 'node:timers/promises';
import { stdoutTerminal } from '../live-block.js';
import { EXIT_DONE } from '../output.js';
import type { TopOptions } from './options.js';
import { takeSample } from './sample.js';
import { jsonScreen, lineScreen, type Screen, terminalScreen } from './screens.js';
import { Viewer } from './view.js';

/** Shows a view each interval until something stops it. Returns the exit code. */
export async function top(
  taps: readonly string[],
  { interval, count = Number.POSITIVE_INFINITY, json }: TopOptions,
  stop: AbortSignal,
): Promise<number> {
  const viewer = new Viewer(takeSample());
  const screen = openScreen(json, interval);
  try {
    for (let shown = 0; shown < count; shown++) {
      await sleep(interval * 1000, undefined, { signal: stop }).catch(() => {});
      if (stop.aborted) break;
      const { seconds, ports } = viewer.next(takeSample());
      const chosen = ports.filter(({ tap }) => taps.length === 0 || taps.includes(tap));
      screen.show({ seconds, ports: chosen });
    }
  } finally {
    screen.close();
  }
  return EXIT_DONE;
}

function openScreen(json: boolean, interval: number): Screen {
  if (json) return jsonScreen(stdoutTerminal.write);
  if (!process.stdout.isTTY) return lineScreen(stdoutTerminal.write);
  return terminalScreen(stdoutTerminal, interval);
}
