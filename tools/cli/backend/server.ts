/** One socket of `vhost-net backend`: its front-ends are served, and what becomes of them is told. */
import { VhostUserBackend, type VhostUserDevice } from '../../../lib/index.js';
import type { BackendCommandOptions } from './options.js';
import type { BackendReporter } from './reporter.js';
import type { Outlet } from './targets.js';

/** How long nobody is there to connect to before that is told, in ms. */
const PATIENCE = 2000;

/** Throws as {@link VhostUserBackend.listen}. */
export function serve(
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
  tellOfErrors(server, reporter);
  if (connect) tellOfAbsence(server, reporter);
  return server;
}

/** It tries again and again; an error that stays the same is told once. */
function tellOfErrors(server: VhostUserBackend, reporter: BackendReporter): void {
  let told: string | undefined;
  server.on('connect', () => {
    told = undefined;
  });
  server.on('error', (error: Error & { hint?: string }) => {
    if (error.message !== told) reporter.failed(server.path, error.message, error.hint);
    told = error.message;
  });
}

/** Tells that nobody is there, once until somebody is, and where no error has said why. */
function tellOfAbsence(server: VhostUserBackend, reporter: BackendReporter): void {
  let timer: NodeJS.Timeout | undefined;
  const expect = () => {
    if (server.closed) return;
    timer = setTimeout(() => {
      if (!server.closed) reporter.waiting(server.path);
    }, PATIENCE).unref();
  };
  const expectNoMore = () => clearTimeout(timer);
  server.on('connect', expectNoMore);
  server.on('error', expectNoMore);
  server.on('disconnect', expect);
  expect();
}
