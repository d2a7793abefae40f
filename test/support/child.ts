/** A Node process of its own that uses the built library, for what ends or limits a process. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/**
 * The built library as one file, as child processes and worker threads import it: emulated, reading its modules one by
 * one takes longer than most of what they do.
 */
export const BUILT = new URL('../../dist/bin/library.js', import.meta.url).href;
/** Its modules. */
export const MODULES = new URL('../../dist/lib/', import.meta.url);

export interface ChildOptions {
  /** Before the script. */
  nodeArgs?: string[];
  /** A command that runs node, as `['sh', '-c', 'ulimit -n 256; exec "$@"', 'sh']`. Node loads modules at once, a descriptor each. */
  wrapper?: string[];
  uid?: number;
  args?: string[];
  /** Kills the child after this many ms. Default: 120 000. */
  limit?: number;
}

export interface ChildResult {
  /** The exit code, or the signal's name. */
  code: number | string;
  stdout: string;
  stderr: string;
}

/** Runs the body of a module that has the library as `vhost`. Never rejects for what the child does. */
export function runChild(body: string, options: ChildOptions = {}): Promise<ChildResult> {
  const source = `import * as vhost from '${BUILT}';\n${body}`;
  const node = [process.execPath, ...(options.nodeArgs ?? []), '--input-type=module', '-e', source];
  const [file = '', ...args] = [...(options.wrapper ?? []), ...node, ...(options.args ?? [])];
  const { uid } = options;
  return new Promise((resolve) => {
    execFile(
      file,
      args,
      {
        timeout: options.limit ?? 120_000,
        killSignal: 'SIGKILL',
        cwd: fileURLToPath(new URL('../..', import.meta.url)),
        ...(uid === undefined ? {} : { uid, gid: uid }),
      },
      (error, stdout, stderr) => {
        resolve({ code: error ? (error.signal ?? error.code ?? -1) : 0, stdout, stderr });
      },
    );
  });
}
