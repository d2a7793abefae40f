/** How `trace` tells people: a line for each message, its columns where those of the line before are. */
import { printable } from '../printable.js';
import type { SeenMessage } from './conversation.js';
import { payloadText } from './payload-text.js';
import type { Process, TraceReporter } from './reporter.js';

/** Widths: number of the connection, ms, ms to the reply, name of the message. */
const CONNECTION = 4;
const MS = 11;
const REPLY = 10;
const NAME = 23;
const INDENT = ' '.repeat(CONNECTION + MS + REPLY + 2 + '→ '.length);

/** The front end's requests and the replies to them; the back end's own, and the replies to those. */
const ARROWS = {
  'front-end': { request: '→', reply: '←' },
  'back-end': { request: '⇐', reply: '⇒' },
} as const;

export function textReporter(write: (text: string) => void): TraceReporter {
  const line = (connection: number, ms: string, reply: string, rest: string) =>
    write(
      `${`${connection}`.padEnd(CONNECTION)}${ms.padStart(MS)}${reply.padStart(REPLY)}  ${rest}\n`,
    );
  const said = (connection: number, text: string) => line(connection, '', '', text);
  return {
    listening({ socket, to }) {
      write(`listening on ${socket}, for ${to}; Ctrl-C ends\n`);
      write('→ of the front end  ← its reply  ⇐ of the back end  ⇒ its reply; times in ms\n');
    },
    waiting: ({ to }) => write(`nothing is at ${to} yet: until it is, who connects is refused\n`),
    connected: (connection, { from, to }) =>
      said(connection, `connected: ${processText(from)} to ${processText(to)}`),
    refused: (connection, from, { message }) =>
      said(connection, `refused ${processText(from)}: ${message}`),
    message(connection, message) {
      const { ms, replyMs } = message;
      const { line: text, more } = payloadText(message);
      const arrow = ARROWS[message.requester][message.kind];
      const reply = replyMs === undefined ? '' : `+${replyMs.toFixed(3)}`;
      const words = `${arrow} ${nameOf(message).padEnd(NAME)}  ${text}`.trimEnd();
      line(connection, ms.toFixed(3), reply, words);
      for (const each of more) write(`${INDENT}${''.padEnd(NAME)}  ${each}\n`);
    },
    closed(connection, { by, error, unanswered, messages, ms }) {
      const who = by === undefined ? 'closed' : `closed by the ${by.replace('-', ' ')}`;
      const why = error ? `: ${error.message}` : '';
      const names = unanswered.map(shortName).join(' ');
      const rest = names === '' ? '' : `, without a reply to ${names}`;
      line(connection, ms.toFixed(3), '', `${who}${why}, after ${messages} messages${rest}`);
    },
    stopped: (reason) => write(`stopped: ${reason}\n`),
  };
}

function nameOf({ request, header }: SeenMessage): string {
  return request === undefined ? `message ${header.request}` : shortName(request);
}

/** The arrow tells the rest of it. */
function shortName(request: string): string {
  return request.replace(/^VHOST_USER_(BACKEND_)?/, '');
}

function processText({ program, pid, uid }: Process): string {
  return `${program === undefined ? '' : `${printable(program)} `}(pid ${pid}, uid ${uid})`;
}
