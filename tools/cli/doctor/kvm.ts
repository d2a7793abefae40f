/** What the doctor says of KVM. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { KvmProbe } from '../../../lib/index.js';
import type { Check } from './check.js';

/** A guest of 280 bytes needs no time at all; what takes longer than this hangs. In ms. */
const LIMIT = 10_000;
const PROBE = fileURLToPath(new URL('./kvm-probe-main.js', import.meta.url));

const NOT_NEEDED = 'only a VMM needs KVM: ports and `attach` do without';

/** Runs a guest in a process of its own, which can be ended when KVM hangs. */
export async function kvmChecks(): Promise<Check[]> {
  const child = spawnSync(process.execPath, [PROBE], {
    encoding: 'utf8',
    timeout: LIMIT,
    killSignal: 'SIGKILL',
    env: { ...process.env, DEBUG: '' },
  });
  const missing = (value: string, hint = NOT_NEEDED): Check[] => [
    { name: 'kvm', status: 'missing', value, hint },
  ];
  if (child.error || child.status === null) {
    return missing(`a guest did not end within ${LIMIT / 1000} s`);
  }
  const seen = JSON.parse(child.stdout) as Partial<KvmProbe> & { error?: string; hint?: string };
  if (seen.error !== undefined) return missing(seen.error, seen.hint);
  const outcome = seen.outcome ?? '';
  if (!seen.runs) {
    return missing(
      `/dev/kvm opens, but runs no real guest: ${outcome}`,
      'guests need software emulation here (qemu -accel tcg), or a host with hardware virtualization',
    );
  }
  return [{ name: 'kvm', status: 'ok', value: outcome }];
}
