import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { EventFd } from '../../lib/index.js';
import type { Frame } from '../../lib/net/frame.js';
import { noCounters } from '../../lib/port/counters.js';
import { ReceiveLoop } from '../../lib/port/receive-loop.js';
import type { Receiver } from '../../lib/port/receiver.js';

/** A receiver whose device always has given something back, of which `frames` makes what it may. */
function restlessReceiver(frames: () => Frame[] | undefined): Receiver {
  const receiver: Pick<Receiver, 'recycle' | 'collect' | 'enableCalls' | 'disableCalls'> = {
    recycle: () => {},
    collect: frames,
    enableCalls: () => true,
    disableCalls: () => {},
  };
  return receiver as Receiver;
}

function loopOver(frames: () => Frame[] | undefined): { loop: ReceiveLoop; call: EventFd } {
  const call = EventFd.create();
  const fail = (error: Error) => {
    throw error;
  };
  const lane = { receiver: restlessReceiver(frames), call, counters: noCounters() };
  return { loop: new ReceiveLoop([lane], fail), call };
}

test.each(['listener', 'iterator'])(
  'a device that gives back nothing but damaged frames does not hold up the event loop of a %s',
  async (consumer) => {
    let looks = 0;
    const { loop, call } = loopOver(() => {
      looks++;
      return undefined;
    });
    if (consumer === 'listener') loop.listen(() => expect.fail('there is no frame'));
    else void loop.iterate().next();
    await setTimeout(30);
    // It goes on looking, and timers have their turn.
    const before = looks;
    await setTimeout(30);
    expect(before).toBeGreaterThan(0);
    expect(looks).toBeGreaterThan(before);
    loop.end(undefined);
    call.close();
  },
);
