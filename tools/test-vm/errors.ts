/** A failure of the machine itself, as opposed to one of the command that ran in it. */
import { STATUS_VM_FAILED } from './status.js';

export class VmError extends Error {
  override readonly name = 'VmError';
  /** The end of the guest's console or of a tool's output, where that says more than the message. */
  readonly detail: string | undefined;
  /** What the program exits with. */
  readonly status: number;

  constructor(message: string, detail?: string, status: number = STATUS_VM_FAILED) {
    super(message);
    this.detail = detail?.trimEnd() || undefined;
    this.status = status;
  }
}
