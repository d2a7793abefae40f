/** A broker under clients that want to harm it, or others. */
import { describe, expect, test } from 'vitest';
import { encode } from '../../lib/broker/protocol.js';
import { requestQueues, Tap, UnixListener, UnixSocket, VhostNet } from '../../lib/index.js';
import { asNobody, exists, kept, NOBODY, ROOT, serve } from '../support/brokers.js';
import { runChild } from '../support/child.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode } from '../support/errors.js';
import { tapName, until } from '../support/host.js';
import { socketPath } from '../support/sockets.js';

holdNothingLeaks();

describe('a client', () => {
  test('that is not on the list gets nothing, and cannot fill the place of others', async () => {
    const tap = tapName();
    const { path, refused } = serve({ allow: [{ uid: ROOT, taps: tap }] });
    const seen = await asNobody(
      `
      const { UnixSocket } = vhost;
      const error = await requestQueues(path, tap).catch((error) => error);
      const sockets = [];
      for (let i = 0; i < 100; i++) {
        try { sockets.push(UnixSocket.connect(path, 'seqpacket')); } catch { i--; }
      }
      const ends = sockets.map((socket) => {
        const buffer = new Uint8Array(1000);
        return new Promise((resolve) => socket.onReadable(() => {
          const { size } = socket.receive(buffer);
          if (size === 0) resolve(socket.close());
        }));
      });
      await Promise.all(ends);
      show({ code: error.code, message: error.message, hint: error.hint, ended: ends.length });
      `,
      path,
      tap,
    );
    expect(seen).toEqual({
      code: 'ERR_BROKER_REFUSED',
      message: `uid ${NOBODY} may not have queues of any TAP`,
      hint: `allow it where the broker runs: --allow ${NOBODY}:TAP`,
      ended: 100,
    });
    expect(refused).toHaveLength(101);
    expect(exists(tap)).toBe(false);
    kept(await requestQueues(path, tap));
  });

  test('that leaves at once, leaves nothing behind', async () => {
    const tap = tapName();
    const { path, granted, refused } = serve({ allow: [{ uid: ROOT, taps: tap }] });
    for (let i = 0; i < 5; i++) {
      const socket = UnixSocket.connect(path, 'seqpacket');
      socket.send(Buffer.from(JSON.stringify({ version: 1, tap, queues: 4 })));
      socket.close();
    }
    await until(() => granted.length + refused.length === 5, 'all are served');
    await until(() => !exists(tap), 'the TAP is gone');
  });

  test('that says nothing in a hundred connections keeps nobody else waiting', async () => {
    const tap = tapName();
    const allow = [ROOT, NOBODY].map((uid) => ({ uid, taps: tap }));
    const { path, refused } = serve({ allow });
    for (let i = 0; i < 100; i++) {
      const socket = UnixSocket.connect(path, 'seqpacket');
      cleanup(() => socket.close());
    }
    await until(() => refused.length === 84, 'all but 16 are refused');
    expect(refused[0]?.reason).toBe('uid 0 is asking 16 times already');
    await expectCode(() => requestQueues(path, tap), 'ERR_BROKER_REFUSED');
    const seen = await asNobody(
      `const [pair] = await requestQueues(path, tap);
       show(pair.tap.name);
       pair.vhost.close();
       pair.tap.close();`,
      path,
      tap,
    );
    expect(seen).toBe(tap);
    await until(() => refused.length === 101, 'the time of the 16 is over');
    kept(await requestQueues(path, tap));
  });
});

test('a client that got a part, and then a refusal, gives the part back', async () => {
  const tap = tapName();
  const listener = UnixListener.listen(socketPath(), 'seqpacket');
  cleanup(() => listener.close());
  listener.onConnection(() => {
    const client = listener.accept();
    const [queue, vhost] = [Tap.open(tap), VhostNet.open()];
    client?.send(encode({ answer: 'queues', pairs: 1, left: 1 }), [queue, vhost]);
    client?.send(encode({ answer: 'refused', reason: 'no more' }));
    for (const own of [queue, vhost, client]) own?.close();
  });
  const error = await expectCode(() => requestQueues(listener.path, tap, 2), 'ERR_BROKER_REFUSED');
  expect(error.message).toBe('no more');
  // At once: the garbage collector would close them too, some time.
  expect(exists(tap)).toBe(false);
});

test('a broker without free descriptors serves those who waited when it has some again', async () => {
  const { code, stdout, stderr } = await runChild(
    `
    import { closeSync, openSync } from 'node:fs';
    import { setTimeout } from 'node:timers/promises';
    const [path] = process.argv.slice(1);
    const broker = vhost.Broker.listen({ path, allow: [{ uid: 0, taps: 'never' }] });
    const full = [];
    try { for (;;) full.push(openSync('/dev/null')); } catch {}
    closeSync(full.pop());
    const client = vhost.UnixSocket.connect(path, 'seqpacket');
    client.send(Buffer.from('no request'));
    await setTimeout(500);
    for (const fd of full) closeSync(fd);
    const buffer = new Uint8Array(1000);
    let message;
    while (!(message = client.receive(buffer))) await setTimeout(10);
    console.log(JSON.parse(Buffer.from(buffer.subarray(0, message.size)).toString()).answer);
    client.close();
    await broker.close();
    `,
    {
      wrapper: ['sh', '-c', 'ulimit -n 256; DEBUG=vhost-net:broker exec "$@"', 'sh'],
      args: [socketPath()],
    },
  );
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'refused\n' });
  const complaints = stderr.split('\n').filter((line) => line.includes('not accepting'));
  expect(complaints.length).toBeGreaterThan(0);
  // A broker that tried again at once would have complained thousands of times.
  expect(complaints.length).toBeLessThan(50);
});
