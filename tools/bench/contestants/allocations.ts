/** What code allocates on the JavaScript heap: every allocation is seen, none is an estimate. */
import type { HeapProfiler } from 'node:inspector';
import { Session } from 'node:inspector/promises';

/** Also what is collected at once. */
const EVERYTHING = {
  samplingInterval: 1,
  includeObjectsCollectedByMajorGC: true,
  includeObjectsCollectedByMinorGC: true,
};

/** Bytes that the modules below the URL `where`, and what they called, allocated while `work` ran. */
export async function allocatedBy(where: string, work: () => Promise<void>): Promise<number> {
  const session = new Session();
  session.connect();
  try {
    await session.post('HeapProfiler.startSampling', EVERYTHING);
    await work();
    const { profile } = await session.post('HeapProfiler.stopSampling');
    return bytesBelow(profile.head, where);
  } finally {
    session.disconnect();
  }
}

function bytesBelow(node: HeapProfiler.SamplingHeapProfileNode, where: string): number {
  if (node.callFrame.url.startsWith(where)) return bytesOf(node);
  return node.children.reduce((sum, child) => sum + bytesBelow(child, where), 0);
}

function bytesOf(node: HeapProfiler.SamplingHeapProfileNode): number {
  return node.children.reduce((sum, child) => sum + bytesOf(child), node.selfSize);
}
