/** The comparison itself, as root in a network namespace or machine of its own. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { median, spread } from '../../bench/statistics.js';
import { columns } from '../../cli/output.js';
import { guestFiles } from '../guest/guest-files.js';
import { holdKvm } from '../kvm/hold.js';
import { CONTESTANTS, type Contestant } from './contestant.js';
import { HOST, LEAST_SEGMENTS, LEAST_SEGMENTS_FILE, METRICS, measure } from './measure.js';

const TAP = 'bench0';
const ROUNDS = Number(process.argv[2] ?? 3);

function ip(command: string): void {
  execFileSync('ip', command.split(' '));
}

const files = await guestFiles();
writeFileSync(LEAST_SEGMENTS_FILE, LEAST_SEGMENTS);
const giveBack = holdKvm();
ip(`tuntap add dev ${TAP} mode tap vnet_hdr`);
ip(`address add ${HOST}/24 dev ${TAP}`);
ip(`link set ${TAP} up`);

const runs = new Map<Contestant, number[][]>(CONTESTANTS.map((each) => [each, []]));
for (let round = 0; round < ROUNDS; round++) {
  for (const [contestant, numbers] of runs) {
    process.stderr.write(`round ${round + 1} of ${ROUNDS}: ${contestant.name}\n`);
    try {
      numbers.push(await measure(contestant, files, TAP));
    } catch (error) {
      process.stderr.write(`${contestant.name}: ${(error as Error).message}\n`);
    }
  }
}

const rows = [['metric', 'unit', 'better', 'transport', 'vhost-net', 'QEMU', 'ratio', 'spread']];
for (const [i, { name, unit, more }] of METRICS.entries()) {
  for (const transport of ['pci', 'mmio'] as const) {
    const [mine = [], theirs = []] = [...runs]
      .filter(([contestant]) => contestant.transport === transport)
      .map(([, numbers]) => numbers.map((run) => run[i] as number));
    if (mine.length === 0 || theirs.length === 0) continue;
    const [a, b] = [median(mine), median(theirs)];
    const wide = Math.max(spread(mine), spread(theirs));
    const ratio = b === 0 ? '' : (a / b).toFixed(2);
    const numbers = [a.toFixed(2), b.toFixed(2), ratio];
    const row = [name, unit, more ? 'more' : 'less', transport, ...numbers];
    rows.push([...row, `${(100 * wide).toFixed(0)} %`]);
  }
}
process.stdout.write(`${columns(rows).join('\n')}\n`);
ip(`link del ${TAP}`);
giveBack();
