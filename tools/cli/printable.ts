/** Texts of others, fit to be shown. */

/** Without what could steer a terminal: who names a process, or asks for a name, chooses it. */
export function printable(text: string): string {
  return text.replace(/\p{C}/gu, '?');
}
