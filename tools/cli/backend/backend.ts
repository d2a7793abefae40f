/** `vhost-net backend`: serves vhost-user front-ends. */
import { once } from 'node:events';
import { VhostUserBackend, type VhostUserDevice } from '../../../lib/index.js';
import { EXIT_DONE } from '../output.js';
import { cable } from './cable.js';
import type { BackendCommandOptions } from './options.js';
import { type BackendReporter, jsonReporter, terminalReporter } from './reporter.js';
import { type Outlet, outletOf } from './targets.js';

/** Serves until something stops it, or has nothing to serve with any more. Returns the exit code. */
export async function backend(options: BackendCommandOptions, stop: AbortSignal): Promise<number> {
  const write = (text: string) => process.stdout.write(text);
  const reporter =
    options.json || !process.stdout.isTTY ? jsonReporter(write) : terminalReporter(write);
  const { socket, to, duration } = options;
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
    reporter.listening(paths);
    reason = await end(either(stop, outlets), duration);
  } finally {
    for (const server of servers) server.close();
    await Promise.all(outlets.map((outlet) => outlet.close()));
  }
  reporter.stopped(reason, outlets[0]?.counts ?? {});
  return EXIT_DONE;
}

function serve(
  path: string,
  outlet: Outlet,
  { connect, queues, sealed }: BackendCommandOptions,
  reporter: BackendReporter,
): VhostUserBackend {
  const how = { path, queuePairs: queues, memory: sealed ? 'sealed' : 'guarded' } as const;
  const server = connect ? VhostUserBackend.connect(how) : VhostUserBackend.listen(how);
  server.on('connect', (device) => {
    outlet.serve(device);
    reporter.connected(path, device);
  });
  server.on('start', (device: VhostUserDevice) => {
    outlet.started?.(device);
    reporter.started(path, device);
  });
  server.on('stop', (device) => {
    outlet.stopped?.(device);
    reporter.paused(path);
  });
  server.on('ringError', (_, ring, error) =>
    reporter.failed(path, `ring ${ring}: ${error.message}`),
  );
  server.on('disconnect', (device, error) => reporter.disconnected(path, device, error));
  server.on('error', (error) => reporter.failed(path, error.message));
  return server;
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
