/** How `backend` tells what it does: a line for each event, JSON where nobody reads along. */
import { type BackendCounters, featureNames, type VhostUserDevice } from '../../../lib/index.js';

export interface BackendReporter {
  listening(sockets: readonly string[]): void;
  connected(socket: string, device: VhostUserDevice): void;
  started(socket: string, device: VhostUserDevice): void;
  paused(socket: string): void;
  failed(socket: string, message: string): void;
  disconnected(socket: string, device: VhostUserDevice, error: Error | undefined): void;
  stopped(reason: string, answered: Readonly<Record<string, number>>): void;
}

/** The sum over all pairs that moved something. */
function total(device: VhostUserDevice): BackendCounters {
  const sum = { ...device.counters(0) };
  for (let pair = 1; pair < device.queuePairs; pair++) {
    const counters = device.counters(pair);
    for (const key of Object.keys(sum) as (keyof BackendCounters)[]) sum[key] += counters[key];
  }
  return sum;
}

export function jsonReporter(write: (text: string) => void): BackendReporter {
  const line = (event: string, fields: object) =>
    write(`${JSON.stringify({ event, time: new Date().toISOString(), ...fields })}\n`);
  return {
    listening: (sockets) => line('listening', { sockets }),
    connected: (socket, { peer }) => line('connected', { socket, peer }),
    started: (socket, { features }) =>
      line('started', {
        socket,
        features: { mask: `0x${features.toString(16)}`, names: featureNames(features) },
      }),
    paused: (socket) => line('paused', { socket }),
    failed: (socket, message) => line('failed', { socket, message }),
    disconnected: (socket, device, error) =>
      line('disconnected', {
        socket,
        ...(error ? { error: error.message } : {}),
        counters: total(device),
      }),
    stopped: (reason, answered) => line('stopped', { reason, answered }),
  };
}

export function terminalReporter(write: (text: string) => void): BackendReporter {
  const line = (text: string) =>
    write(`${new Date().toLocaleTimeString('en-GB')}  ${text.replace(/\p{C}/gu, '?')}\n`);
  return {
    listening: (sockets) => write(`serving ${sockets.join(' and ')}; Ctrl-C stops\n`),
    connected: (socket, { peer }) => line(`${socket}: connected, uid ${peer.uid}, pid ${peer.pid}`),
    started: (socket, { features }) =>
      line(`${socket}: started, ${featureNames(features).join(' ')}`),
    paused: (socket) => line(`${socket}: stopped`),
    failed: (socket, message) => line(`${socket}: ${message}`),
    disconnected(socket, device, error) {
      const { received, sent, dropped, errors } = total(device);
      const why = error ? ` (${error.message})` : '';
      line(
        `${socket}: disconnected${why}; ${received} frames received, ${sent} sent, ${dropped} dropped, ${errors} bad`,
      );
    },
    stopped: (reason) => line(`stopped: ${reason}`),
  };
}
