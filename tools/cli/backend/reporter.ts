/** How `backend` tells what it does: a line for each event, JSON where nobody reads along. */
import {
  type BackendCounters,
  featureNames,
  VHOST_USER_F_PROTOCOL_FEATURES,
  type VhostUserDevice,
} from '../../../lib/index.js';
import { moverText } from '../mover-text.js';
import type { JoinedTap } from './targets.js';

export interface BackendReporter {
  /** `joined`: the TAP that frames go to, and who moves them there, where there is one. */
  listening(sockets: readonly string[], joined: Partial<JoinedTap>): void;
  /** As {@link listening}, to front-ends that listen. */
  connecting(sockets: readonly string[], joined: Partial<JoinedTap>): void;
  /** Nobody is there to connect to. */
  waiting(socket: string): void;
  connected(socket: string, device: VhostUserDevice): void;
  started(socket: string, device: VhostUserDevice): void;
  paused(socket: string): void;
  failed(socket: string, message: string, hint?: string): void;
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
    listening: (sockets, joined) => line('listening', { sockets, ...joined }),
    connecting: (sockets, joined) => line('connecting', { sockets, ...joined }),
    waiting: (socket) => line('waiting', { socket }),
    connected: (socket, { peer }) => line('connected', { socket, peer }),
    started: (socket, { features }) =>
      line('started', {
        socket,
        features: { mask: `0x${features.toString(16)}`, names: namesOf(features) },
      }),
    paused: (socket) => line('paused', { socket }),
    failed: (socket, message, hint) => line('failed', { socket, message, hint }),
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
    listening: (sockets, joined) =>
      write(`serving ${sockets.join(' and ')}${joinedText(joined)}; Ctrl-C stops\n`),
    connecting: (sockets, joined) =>
      write(
        `connecting to ${sockets.join(' and ')}${joinedText(joined)}, again every second; Ctrl-C stops\n`,
      ),
    waiting: (socket) => line(`${socket}: nobody is there yet`),
    connected: (socket, { peer }) => line(`${socket}: connected, uid ${peer.uid}, pid ${peer.pid}`),
    started: (socket, { features }) => line(`${socket}: started, ${namesOf(features).join(' ')}`),
    paused: (socket) => line(`${socket}: stopped`),
    failed(socket, message, hint) {
      line(`${socket}: ${message}`);
      if (hint !== undefined) write(`  hint: ${hint}\n`);
    },
    disconnected(socket, device, error) {
      const { received, sent, dropped, errors } = total(device);
      const why = error ? ` (${error.message})` : '';
      line(
        `${socket}: disconnected${why}; ${received} frames received, ${sent} sent, ${dropped} dropped, ${errors} bad`,
      );
    },
    stopped(reason, answered) {
      const kinds = Object.entries(answered).filter(([, count]) => count > 0);
      const rest = kinds.map(([kind, count]) => `${count} ${kind}`).join(', ');
      line(`stopped: ${reason}${rest === '' ? '' : `; ${rest}`}`);
    },
  };
}

/** Features of the device, and the one that says that the protocol has features. */
function namesOf(features: bigint): string[] {
  const own = `bit ${VHOST_USER_F_PROTOCOL_FEATURES}`;
  return featureNames(features).map((name) =>
    name === own ? 'VHOST_USER_F_PROTOCOL_FEATURES' : name,
  );
}

function joinedText({ tap, backend }: Partial<JoinedTap>): string {
  return tap === undefined || backend === undefined ? '' : `, from ${tap} by ${moverText(backend)}`;
}
