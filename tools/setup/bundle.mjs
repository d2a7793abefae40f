// @ts-check
/**
 * Makes programs of one file each out of what tsc compiled: most of a start is reading two hundred modules otherwise.
 * So it is for the processes and threads that tests start: they have the library as one file.
 */
import { build } from 'rolldown';

const PROGRAMS = {
  'dist/bin/library.js': 'dist/lib/index.js',
  'dist/bin/vhost-net.js': 'dist/tools/cli/main.js',
  'dist/bin/kvm-probe-main.js': 'dist/tools/cli/doctor/kvm-probe-main.js',
  'dist/bin/vmm.js': 'dist/tools/vmm/main.js',
};

for (const [file, input] of Object.entries(PROGRAMS)) {
  await build({
    input,
    platform: 'node',
    // What is published leaves the package's dependencies outside, as whoever imports the library finds them.
    external: input.startsWith('dist/tools/cli/') ? ['commander', 'debug'] : [],
    output: { file, format: 'esm', codeSplitting: false },
  });
}
