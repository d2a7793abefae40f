/** Says what is being measured: one line that changes on a terminal, plain lines elsewhere. */

export interface Progress {
  show(text: string): void;
  /** Takes the line away. */
  end(): void;
}

export function progressOn(stream: NodeJS.WriteStream): Progress {
  const started = performance.now();
  const since = () => `${((performance.now() - started) / 1000).toFixed(0).padStart(3)} s`;
  if (!stream.isTTY) {
    return { show: (text) => void stream.write(`bench: ${since()}  ${text}\n`), end() {} };
  }
  return {
    show: (text) => void stream.write(`\r\x1b[K${since()}  ${text.slice(0, stream.columns - 8)}`),
    end: () => void stream.write('\r\x1b[K'),
  };
}
