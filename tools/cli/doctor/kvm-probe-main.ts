/** Prints what running a guest showed, as one line of JSON. A process of its own, so that it can hang. */
import { probeKvm } from '../../../lib/index.js';

try {
  process.stdout.write(JSON.stringify(await probeKvm()));
} catch (error) {
  const { message, hint } = error as { message: string; hint?: string };
  process.stdout.write(JSON.stringify({ error: message, hint }));
}
