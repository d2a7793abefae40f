/** What a trace told, held against what peers are known to say to each other. */
import { expect } from 'vitest';
import type { Line } from './cli.js';
import type { Trace } from './traced.js';

/** A message of a trace, as far as a test cares. */
export interface Told extends Line {
  kind: 'request' | 'reply';
  request: string;
  payload: unknown;
  descriptors: { kind: string; size?: number }[];
  needReply: boolean;
}

/** The messages of one connection so far. */
export function toldOf({ run }: Trace, connection = 1): Told[] {
  const lines = run.lines as Told[];
  return lines.filter((line) => line.event === 'message' && line.connection === connection);
}

/** A request as `NAME` or `NAME payload`; of a payload that is an object, its numbers. */
function spoken({ request, payload, kind }: Told): string {
  const name = request.replace('VHOST_USER_', '');
  const values =
    typeof payload === 'object' && payload !== null ? Object.values(payload) : [payload];
  return [
    kind === 'reply' ? `${name} reply` : name,
    ...values.filter((v) => typeof v === 'number' || typeof v === 'string'),
  ].join(' ');
}

/** Fails unless these requests were made in this order, whatever was between them: each the start of what was said. */
export function expectInOrder(told: readonly Told[], requests: readonly string[]): void {
  const said = told.filter(({ kind }) => kind === 'request').map(spoken);
  let at = 0;
  for (const wanted of requests) {
    const found = said.findIndex((one, i) => i >= at && `${one} `.startsWith(`${wanted} `));
    expect(found, `${wanted} after ${said[at - 1]} in:\n${said.join('\n')}`).toBeGreaterThanOrEqual(
      at,
    );
    at = found + 1;
  }
}

/** Fails unless every message was one of the protocol, and none that asked was left without a reply. */
export function expectSound(told: readonly Told[]): void {
  expect(told.length).toBeGreaterThan(10);
  expect(told.filter(({ problem }) => problem !== undefined)).toEqual([]);
  const asked = told.filter(({ kind, needReply }) => kind === 'request' && needReply);
  const replies = told.filter(({ kind }) => kind === 'reply');
  for (const name of new Set(asked.map(({ request }) => request))) {
    const count = (some: readonly Told[]) => some.filter(({ request }) => request === name).length;
    expect(count(replies), name).toBeGreaterThanOrEqual(count(asked));
  }
  for (const reply of replies) expect(reply.replyMs).toBeGreaterThan(0);
}
