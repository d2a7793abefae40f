/** What the doctor looks at, by doing it: nothing is compared with a version. */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import {
  featureNames,
  maxMemRegions,
  Tap,
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_UDP_TUNNEL_GSO,
  TUN_F_UDP_TUNNEL_GSO_CSUM,
  TUN_F_UFO,
  TUN_F_USO4,
  TUN_F_USO6,
  TUN_FEATURES,
  VHOST_BACKEND_F_IOTLB_MSG_V2,
  VHOST_FORK_OWNER_TASK,
  VhostNet,
} from '../../../lib/index.js';
import { type Check, check, failedCheck, mask } from './check.js';
import { kvmChecks } from './kvm.js';

const CAP_NET_ADMIN = 12n;
const NOT_NEEDED = 'nothing that a port needs depends on it';

/** The probe of an ioctl that older kernels lack, which they say in one of three ways. */
function newer<T>(probe: () => T): T {
  try {
    return probe();
  } catch (error) {
    const { code = '' } = error as { code?: string };
    if (!['EPERM', 'ENOTTY', 'ENOBUFS'].includes(code)) throw error;
    throw new Error('not in this kernel');
  }
}

/** Every check, in the order of the layers. What it opens and makes is gone again afterwards. */
export async function runChecks(): Promise<Check[]> {
  return [
    { name: 'kernel', status: 'ok', value: `Linux ${release()} on ${process.arch}` },
    { name: 'node', status: 'ok', value: process.version },
    rights(),
    ...(await vhostChecks()),
    ...(await tapChecks()),
    ...(await kvmChecks()),
  ];
}

function rights(): Check {
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  const admin = ((effective >> CAP_NET_ADMIN) & 1n) === 1n;
  const user = `uid ${process.getuid?.()}`;
  if (admin) return { name: 'rights', status: 'ok', value: `${user}, CAP_NET_ADMIN` };
  return {
    name: 'rights',
    status: 'missing',
    value: `${user}, no CAP_NET_ADMIN`,
    hint: 'run as root to create interfaces, or have root make one for this user: `ip tuntap add NAME mode tap user USER`',
  };
}

async function vhostChecks(): Promise<Check[]> {
  let vhost: VhostNet;
  try {
    vhost = VhostNet.open();
  } catch (error) {
    return [failedCheck('vhost-net', 'failed', error)];
  }
  try {
    const checks: Check[] = [
      { name: 'vhost-net', status: 'ok', value: '/dev/vhost-net opens' },
      check('features', 'failed', () => {
        const features = vhost.getFeatures();
        return mask(features, featureNames(features));
      }),
      check(
        'features array',
        'missing',
        () => {
          const features = newer(() => vhost.getFeaturesArray());
          const beyond = (features >> 64n) << 64n;
          return mask(features, featureNames(beyond));
        },
        NOT_NEEDED,
      ),
      check('backend features', 'missing', () => {
        const features = vhost.getBackendFeatures();
        const v2 = ((features >> BigInt(VHOST_BACKEND_F_IOTLB_MSG_V2)) & 1n) === 1n;
        return mask(features, v2 ? ['VHOST_BACKEND_F_IOTLB_MSG_V2'] : []);
      }),
      check(
        'fork owner',
        'missing',
        () =>
          newer(() => vhost.getForkFromOwner()) === VHOST_FORK_OWNER_TASK
            ? 'the worker is a task of its owner'
            : 'the worker is a kernel thread',
        NOT_NEEDED,
      ),
      check('memory regions', 'missing', () => `at most ${maxMemRegions()}`),
    ];
    checks.push(await ownerCheck(vhost));
    return checks;
  } finally {
    await vhost.closeAsync();
  }
}

async function ownerCheck(vhost: VhostNet): Promise<Check> {
  try {
    await vhost.setOwner();
    return { name: 'worker', status: 'ok', value: 'starts' };
  } catch (error) {
    return failedCheck('worker', 'failed', error);
  }
}

const OFFLOADS = [
  ['checksum', TUN_F_CSUM],
  ['TSO', TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6],
  ['ECN', TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN],
  ['UFO', TUN_F_CSUM | TUN_F_UFO],
  ['USO', TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6],
  [
    'UDP tunnel',
    TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_UDP_TUNNEL_GSO | TUN_F_UDP_TUNNEL_GSO_CSUM,
  ],
] as const;

async function tapChecks(): Promise<Check[]> {
  const features = check('tun', 'failed', () => {
    const bits = Tap.hostFeatures();
    const names = Object.keys(TUN_FEATURES).filter(
      (name) => (bits & (TUN_FEATURES[name] ?? 0)) !== 0,
    );
    return mask(BigInt(bits), names);
  });
  if (features.status !== 'ok') return [features];
  let tap: Tap;
  try {
    tap = Tap.open('vhostdoc%d');
  } catch (error) {
    return [features, failedCheck('tap', 'failed', error)];
  }
  try {
    const most = tap.probeOffload();
    const accepted = OFFLOADS.filter(([, bits]) => (most & bits) === bits).map(([name]) => name);
    return [
      features,
      { name: 'tap', status: 'ok', value: 'an interface can be made' },
      {
        name: 'offloads',
        status: 'ok',
        value: accepted.join(', '),
        data: { names: accepted },
      },
    ];
  } finally {
    await tap.closeAsync();
  }
}
