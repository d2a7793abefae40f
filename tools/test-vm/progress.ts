/** What the user sees while something slow happens: one line per step, on stderr. */
import { performance } from 'node:perf_hooks';

export interface Step {
  /** Ends the step; the line then reads `text` (default: the step's own) and the time it took. */
  done(text?: string): void;
  /** Ends the step without a line. */
  drop(): void;
}

export interface Progress {
  step(text: string): Step;
  note(text: string): void;
}

const silentStep: Step = { done() {}, drop() {} };
export const silent: Progress = { step: () => silentStep, note() {} };

/**
 * Lines on `stream` that begin with `who`; on a terminal the running step is shown and then replaced by
 * its outcome.
 */
export function progressOn(stream: NodeJS.WriteStream, who = 'vm'): Progress {
  const line = (text: string) => `${who}: ${text}`;
  return {
    step(text) {
      const start = performance.now();
      let shown = stream.isTTY;
      const erase = () => {
        if (shown) stream.write('\r\x1b[K');
        shown = false;
      };
      if (stream.isTTY) stream.write(`${line(text)} …`);
      return {
        done(outcome = text) {
          erase();
          stream.write(`${line(outcome)} (${seconds(performance.now() - start)})\n`);
        },
        drop: erase,
      };
    },
    note: (text) => void stream.write(`${line(text)}\n`),
  };
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
