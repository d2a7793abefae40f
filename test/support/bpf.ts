/** eBPF programs that are really in the kernel: a helper in C loads them and sends their descriptors. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { UnixListener } from '../../lib/index.js';
import { cleanup } from './cleanup.js';

const SOURCE = join(import.meta.dirname, 'bpf/send-program.c');

let built: { folder: string; helper: string } | undefined;

function helper(): { folder: string; helper: string } {
  if (built) return built;
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-bpf-'));
  const out = join(folder, 'send-program');
  const { status, stderr } = spawnSync('cc', ['-Wall', '-Werror', '-o', out, SOURCE]);
  if (status !== 0) throw new Error(`cc: ${stderr}`);
  built = { folder, helper: out };
  return built;
}

/** The descriptor of a program that returns `value` for every frame. It is open for one test. */
export async function constantProgram(value: number): Promise<number> {
  const { folder, helper: program } = helper();
  const path = join(folder, 'socket');
  const listener = UnixListener.listen(path, 'seqpacket');
  try {
    await promisify(execFile)(program, [path, String(value | 0)]);
    const connection = listener.accept();
    const message = connection?.receive(new Uint8Array(1), 1);
    connection?.close();
    const [descriptor] = message?.descriptors ?? [];
    if (!descriptor) throw new Error('no program came');
    cleanup(() => descriptor.close());
    return descriptor.fd;
  } finally {
    listener.close();
  }
}
