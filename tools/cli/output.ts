/** What every command prints alike: exit codes, errors, columns. */

/** The command did what it was asked to. */
export const EXIT_DONE = 0;
/** It tried and failed. */
export const EXIT_FAILED = 1;
/** It was asked for what cannot be meant. */
export const EXIT_USAGE = 2;
/** This host lacks a device, a right or a feature. */
export const EXIT_HOST = 3;

/** An error that is the user's to mend on the command line. */
export class UsageError extends Error {}

/** Errnos that speak of the host and not of the call: a device, module, right or feature is missing. */
const HOST_CODES = new Set([
  'ENOENT',
  'ENODEV',
  'ENXIO',
  'EACCES',
  'EPERM',
  'ENOTTY',
  'EOPNOTSUPP',
]);
const HOST_ERR_CODES = new Set([
  'ERR_ADDON_NOT_FOUND',
  'ERR_DLOPEN_FAILED',
  'ERR_BROKER_REFUSED',
  'ERR_FEATURES_NOT_OFFERED',
  'ERR_UNSUPPORTED_PLATFORM',
]);
const USAGE_ERR_CODES = new Set([
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_ARG_VALUE',
  'ERR_OUT_OF_RANGE',
  'ERR_FRAME_SIZE',
]);

/** The exit code that an error means. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT_USAGE;
  const { code = '', syscall = '', path = '' } = error as Partial<Record<string, string>>;
  if (USAGE_ERR_CODES.has(code)) return EXIT_USAGE;
  if (HOST_ERR_CODES.has(code)) return EXIT_HOST;
  const ofHost = path.startsWith('/dev/') || /^ioctl\(|^RTM_|^socket\(/.test(syscall);
  return ofHost && HOST_CODES.has(code) ? EXIT_HOST : EXIT_FAILED;
}

/** One line that says what failed, and one with what to do, where that is known. */
export function describeError(error: unknown, doing: string): string {
  const { message, hint } = error as { message?: string; hint?: string };
  const line = `vhost-net: ${doing}: ${message ?? String(error)}\n`;
  return hint === undefined ? line : `${line}hint: ${hint}\n`;
}

/**
 * Rows of cells as aligned columns: texts, the last column not padded; or numbers, aligned at their right
 * but for the first column, their name.
 */
export function columns(
  rows: readonly (readonly string[])[],
  align: 'left' | 'right' = 'left',
): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  const pad = (cell: string, i: number, last: boolean) => {
    if (align === 'right' && i > 0) return cell.padStart(widths[i] as number);
    return last ? cell : cell.padEnd(widths[i] as number);
  };
  return rows.map((row) => row.map((cell, i) => pad(cell, i, i === row.length - 1)).join('  '));
}
