/** The end of what the guest's console printed, fit to be shown. */

import { stripVTControlCharacters } from 'node:util';

/** Bytes kept, lines shown. */
const KEPT = 16 * 1024;
const SHOWN = 40;

export class ConsoleTail {
  #text = '';

  add(chunk: Buffer): void {
    this.#text = (this.#text + chunk.toString('latin1')).slice(-KEPT);
  }

  /** Without the firmware's and the terminal's control sequences. */
  text(): string {
    return stripVTControlCharacters(this.#text)
      .replaceAll(/[^\n\t\x20-\x7e]/g, '')
      .trim()
      .split('\n')
      .slice(-SHOWN)
      .join('\n');
  }
}
