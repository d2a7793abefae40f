import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { MODULES_FILE, ModuleReporter } from './tools/test/module-reporter.js';

const report = process.env[MODULES_FILE];

const DIST = fileURLToPath(new URL('./dist/', import.meta.url));
/**
 * What a test asks for of the library and the tools, as it was built: in an emulated machine it takes minutes to
 * transform their sources, and to run what comes of that.
 */
const AS_BUILT = {
  alias: [{ find: /^(?:\.\.\/)+((?:lib|tools)\/.*)$/, replacement: `${DIST}$1` }],
  server: { deps: { external: [/\/dist\//] } },
};

/** One project per test layer, from cheap to real; see CONTRIBUTING.md. */
function layer(name: string, testTimeout: number) {
  const onKernel = name === 'kernel' || name === 'vmm';
  return {
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      testTimeout,
      hookTimeout: testTimeout,
      // A leaked native handle aborts a worker thread's whole process; a fork keeps it apart.
      pool: 'forks' as const,
      // Files that touch the machine run one after another, and those in a kernel of their own in one process:
      // in a software-emulated machine every process costs seconds.
      fileParallelism: name === 'unit' || name === 'fuzz',
      isolate: !onKernel,
      globalSetup: onKernel ? ['test/support/hold-vm.ts'] : [],
      ...(onKernel ? AS_BUILT : {}),
    },
  };
}

export default defineConfig({
  test: {
    reporters: ['default', ...(report === undefined ? [] : [new ModuleReporter(report)])],
    projects: [
      // Limits for what hangs, and not for what a busy machine takes longer for.
      layer('unit', 60_000),
      layer('native', 90_000),
      layer('fuzz', 600_000),
      layer('package', 300_000),
      layer('peers', 300_000),
      layer('kernel', 180_000),
      layer('vmm', 300_000),
    ],
  },
});
