/** How the layers of tests share a machine's processors. */
import { describe, expect, test } from 'vitest';
import { runInSlots } from '../../tools/test/slots.js';

/** A job that ends when it is told to. */
function job<T>(name: string, began: string[]) {
  let end = (_result: T) => {};
  let fail = (_error: Error) => {};
  const result = new Promise<T>((resolve, reject) => {
    end = resolve;
    fail = reject;
  });
  const run = () => {
    began.push(name);
    return result;
  };
  return { run, end: (value: T) => end(value), fail: (error: Error) => fail(error) };
}

const turn = () => new Promise(setImmediate);

describe('jobs in two slots', () => {
  test('run two at a time in their order, and the next as soon as one ends', async () => {
    const began: string[] = [];
    const a = job<string>('a', began);
    const b = job<string>('b', began);
    const c = job<string>('c', began);
    const results = runInSlots([a.run, b.run, c.run], 2);
    await turn();
    expect(began).toEqual(['a', 'b']);
    b.end('second');
    await turn();
    expect(began).toEqual(['a', 'b', 'c']);
    c.end('third');
    a.end('first');
    expect(await results).toEqual(['first', 'second', 'third']);
  });

  test('begin no more when one throws, and let the other end', async () => {
    const began: string[] = [];
    const a = job<string>('a', began);
    const b = job<string>('b', began);
    const c = job<string>('c', began);
    let ended = false;
    const results = runInSlots([a.run, b.run, c.run], 2).finally(() => {
      ended = true;
    });
    await turn();
    a.fail(new Error('no such kernel'));
    await turn();
    expect({ began, ended }).toEqual({ began: ['a', 'b'], ended: false });
    b.end('second');
    await expect(results).rejects.toThrow('no such kernel');
    expect(began).toEqual(['a', 'b']);
  });

  test('may be fewer than slots, or none', async () => {
    expect(await runInSlots([async () => 1], 2)).toEqual([1]);
    expect(await runInSlots([], 2)).toEqual([]);
  });
});
