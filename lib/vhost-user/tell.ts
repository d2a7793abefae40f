/** Telling listeners: what one throws is an uncaughtException, and no loss of who tells, or of whom it is told. */

export function tell(event: () => void): void {
  try {
    event();
  } catch (error) {
    uncaught(error);
  }
}

/** Throws it where nobody catches it. */
export function uncaught(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
