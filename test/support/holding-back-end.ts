/** A back end in a process of its own that keeps frames, and is killed with them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { BUILT } from './child.js';
import { cleanup } from './cleanup.js';
import { until } from './host.js';

/** Listens at `path`. It serves one burst, and holds what comes in the second for good. */
export async function holdingBackEnd(path: string) {
  const source = `
    import { VhostUserBackend } from '${BUILT}';
    const backend = VhostUserBackend.listen({ path: '${path}' });
    let bursts = 0;
    backend.on('connect', (device) => device.onFrames((frames) => {
      if (++bursts === 1) return;
      console.log('holds', frames.length);
      return new Promise(() => {});
    }));
    console.log('listens');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanup(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  await until(() => said.includes('listens'), 'the back end');
  return {
    holds: (count: number) =>
      until(() => said.includes(`holds ${count}\n`), `${count} frames to be held`),
    /** Resolves when it has ended: its connections may end before the socket that it listens on. */
    async kill(): Promise<void> {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
