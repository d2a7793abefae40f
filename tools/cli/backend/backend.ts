/** `vhost-net backend`: serves vhost-user front-ends. */
import { once } from 'node:events';
import type { VhostUserBackend } from '../../../lib/index.js';
import { EXIT_DONE } from '../output.js';
import { lookAtPeer } from '../peer-path.js';
import { cable } from './cable.js';
import { type BackendCommandOptions, checkMac } from './options.js';
import { jsonReporter, terminalReporter } from './reporter.js';
import { serve } from './server.js';
import { type Outlet, outletOf } from './targets.js';

/** Serves until something stops it, or has nothing to serve with any more. Returns the exit code. */
export async function backend(options: BackendCommandOptions, stop: AbortSignal): Promise<number> {
  const write = (text: string) => process.stdout.write(text);
  const reporter =
    options.json || !process.stdout.isTTY ? jsonReporter(write) : terminalReporter(write);
  const { socket, to, duration, connect } = options;
  checkMac(options);
  if (connect) {
    lookAtPeer(socket, '--socket');
    if (to.kind === 'socket') lookAtPeer(to.path, '--to');
  }
  const target = await outletOf(options);
  const outlets = target ? [target] : cable();
  const paths = to.kind === 'socket' ? [socket, to.path] : [socket];
  const servers: VhostUserBackend[] = [];
  let reason = '';
  try {
    paths.forEach((path, i) => {
      servers.push(serve(path, outlets[i] as Outlet, options, reporter));
    });
    for (const outlet of outlets) outlet.open?.();
    reporter[connect ? 'connecting' : 'listening'](paths, target?.joined ?? {});
    reason = await end(either(stop, outlets), duration);
  } finally {
    for (const server of servers) server.close();
    await Promise.all(outlets.map((outlet) => outlet.close()));
  }
  reporter.stopped(reason, outlets[0]?.counts ?? {});
  return EXIT_DONE;
}

/** Aborted when it is to stop, or where frames went is gone. */
function either(stop: AbortSignal, outlets: readonly Outlet[]): AbortSignal {
  const ending = new AbortController();
  for (const signal of [stop, ...outlets.flatMap(({ gone }) => gone ?? [])]) {
    if (signal.aborted) ending.abort(signal.reason);
    signal.addEventListener('abort', () => ending.abort(signal.reason), { once: true });
  }
  return ending.signal;
}

/** Why it is to end, once it is. */
async function end(stop: AbortSignal, duration: number | undefined): Promise<string> {
  if (stop.aborted) return String(stop.reason);
  if (duration === undefined) {
    await once(stop, 'abort');
    return String(stop.reason);
  }
  const timer = new Promise<string>((resolve) => {
    const limit = setTimeout(() => resolve('the time is over'), duration * 1000);
    stop.addEventListener('abort', () => {
      clearTimeout(limit);
      resolve(String(stop.reason));
    });
  });
  return timer;
}
