/** Time for the event loop, in turns and not by the clock alone. */

/** More than anything here needs: what one turn delivers may signal for the next. */
const TURNS = 20;

/**
 * Long enough for the loop to have delivered whatever there is. A clock alone does not tell: on a machine that stood
 * still meanwhile the timer is due before the loop has looked at a single descriptor.
 */
export async function aWhile(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20));
  for (let turn = 0; turn < TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** The same as source, for processes of their own. */
export const A_WHILE = `const TURNS = ${TURNS};\n${aWhile}\n`;
