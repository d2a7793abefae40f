/** Makes docs/errors.md of the library's own tables. */
import { ERROR_CODES, HINTS } from '../../lib/index.js';

const HEAD = `# Errors

Made from \`lib/hints.ts\` and \`lib/error-codes.ts\` by \`npm run docs\`.

- A failed system call throws a \`VhostError\`: \`code\` (\`'EBUSY'\`), negative \`errno\`, \`syscall\`
  (\`'ioctl(VHOST_SET_OWNER)'\`), \`path\` where there is one, and \`hint\`, one of the sentences below.
- Misuse throws a \`TypeError\` or \`RangeError\`, a forbidden state a \`StateError\`; both have a \`code\` that
  begins with \`ERR_\`.
- The command prints one line with the message, a line with the hint, and exits with 1 (failed), 2 (wrong
  usage) or 3 (this host lacks a device, a right or a feature).
- After a failed call nothing of it stays open. A \`NetPort\` that fails while it runs rejects what waits on
  it with the error, and gives everything back when it is closed.
`;

/** Text for a cell of a table. */
const cell = (text: string) => text.replaceAll('|', '\\|');

/** The page. */
export function errorsPage(): string {
  const codes = Object.entries(ERROR_CODES).map(
    ([code, { cause, cure }]) => `| \`${code}\` | ${cell(cause)} | ${cell(cure)} |`,
  );
  const calls = Object.entries(HINTS).flatMap(([call, hints]) => [
    `### \`${call}\``,
    '',
    '| code | what it means, what to do |',
    '|---|---|',
    ...Object.entries(hints).map(([code, hint]) => `| \`${code}\` | ${cell(hint)} |`),
    '',
  ]);
  return [
    HEAD,
    '## Codes of the library',
    '',
    '| code | cause | cure |',
    '|---|---|---|',
    ...codes,
    '',
    '## Errnos of system calls',
    '',
    ...calls,
  ].join('\n');
}
