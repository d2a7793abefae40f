/** `vhost-net broker`: opens queues with its rights for processes that have none. */
import { once } from 'node:events';
import { Broker } from '../../../lib/index.js';
import { EXIT_DONE } from '../output.js';
import type { BrokerCommandOptions } from './options.js';
import { jsonReporter, terminalReporter } from './reporter.js';

/** Serves until something stops it. Returns the exit code. */
export async function broker(options: BrokerCommandOptions, stop: AbortSignal): Promise<number> {
  const { socket, json, ...settings } = options;
  const write = (text: string) => process.stdout.write(text);
  const reporter = json || !process.stdout.isTTY ? jsonReporter(write) : terminalReporter(write);
  const server = Broker.listen({ path: socket, ...settings });
  server.on('granted', reporter.granted);
  server.on('refused', reporter.refused);
  reporter.listening({ socket, allow: settings.allow, maxQueues: settings.maxQueues });
  if (!stop.aborted) await once(stop, 'abort');
  await server.close();
  reporter.stopped(String(stop.reason));
  return EXIT_DONE;
}
