/** Runs the system's ping and counts what came back. */
import { spawn } from 'node:child_process';

export interface PingResult {
  sent: number;
  received: number;
}

/** Pings `address` `count` times, its output shown as it comes. Bounded in time. */
export async function ping(address: string, count: number): Promise<PingResult> {
  const args = ['-c', String(count), '-i', '0.2', '-W', '2', '-w', '30', address];
  const child = spawn('ping', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
    process.stdout.write(chunk);
  });
  await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const counted = /(\d+) packets transmitted, (\d+) received/.exec(output);
  return { sent: Number(counted?.[1] ?? count), received: Number(counted?.[2] ?? 0) };
}
