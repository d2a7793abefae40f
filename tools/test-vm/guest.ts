/**
 * The two scripts that busybox runs as the guest's process 1.
 *
 * `INIT_SCRIPT` lives in the initramfs: it loads modules and makes the root file system.
 * `RUN_SCRIPT` takes over inside that root: it runs the command and reports on the control port.
 *
 * The job folder, whose path is on the kernel's command line, holds what differs from run to run:
 * `mounts`, sourced by the first script, and `command`, by the second (see `job.ts`).
 *
 * The control port carries lines, each of one write, so that those of several processes do not mix:
 *
 *     running HEARTS               the command starts; so many hearts beat from now on
 *     beat HEART                   every `BEAT` seconds, from a process bound to that processor
 *     exit STATUS STDOUT STDERR    the command's status and how many bytes it wrote
 */
import { BEAT } from './heartbeat.js';

/** Numbers of the virtio-serial ports: `/dev/vport*pN` in the guest. */
export const PORT = { stdout: 1, stderr: 2, control: 3 } as const;

/** Where the guest keeps what is ours. */
const OURS = '/run/test-vm';

export const INIT_SCRIPT = `#!/bin/busybox sh
# Until /proc is there, the shell cannot find its own applets.
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec 2>/dev/console

load() {
  while read -r module parameters; do insmod /modules/$module.ko $parameters 2>>/dev/kmsg; done
}
load </modules/boot
load </modules/rest &
# KVM takes as long as all the others together.
case $(cat /proc/cpuinfo) in
  *' svm '*) load </modules/kvm_amd & ;;
  *' vmx '*) load </modules/kvm_intel & ;;
esac

for word in $(cat /proc/cmdline); do
  case $word in test_vm.job=*) job=/host\${word#*=} ;; esac
done

# The host's files below, a tmpfs above: the command may write anywhere and changes nothing.
share() { mount -t 9p -o "trans=virtio,version=9p2000.L,msize=1048576,$3" "$1" "$2"; }
share host /host cache=loose,ro
mount -t tmpfs -o mode=755 tmpfs /upper
mkdir /upper/upper /upper/work
mount -t overlay -o lowerdir=/host,upperdir=/upper/upper,workdir=/upper/work overlay /root

cd /root
mkdir -p proc sys dev run tmp
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t debugfs debugfs sys/kernel/debug
mount -t tracefs tracefs sys/kernel/tracing
mount -t devtmpfs devtmpfs dev
mkdir -p dev/pts dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr

hostname test-vm
echo '127.0.0.1 test-vm' >>etc/hosts
ip link set lo up

. $job/mounts
mkdir -p .${OURS}
cp /bin/busybox /run $job/command .${OURS}

wait
exec switch_root /root ${OURS}/busybox sh ${OURS}/run
`;

export const RUN_SCRIPT = `cd ${OURS}
exec 2>/dev/console
# The first number of a port is that of its virtio device; the ports appear some time after it.
until set -- /dev/vport*p${PORT.control} && [ -c $1 ]; do ./busybox sleep 0.02; done
port=\${1%p*}p
exec 3<>$1

# When the host's end is gone, nobody waits for us any more.
( while read -r _; do :; done; poweroff -f ) <&3 &
watch=$!

# A port can be opened once only, so the command gets pipes.
mkfifo stdout stderr
dd bs=64k <stdout >\${port}${PORT.stdout} 2>stdout.log & out=$!
dd bs=64k <stderr >\${port}${PORT.stderr} 2>stderr.log & err=$!

# A sign of life from each processor: often it is one alone that the emulation lets sleep. read waits
# without a process of its own, so that a guest that can start no more is not taken for a still one.
mkfifo never
beat() { while :; do echo "beat $1" >&3; read -t ${BEAT} _ <>never; done; }
hearts=
for cpu in $(seq 0 $(($(nproc) - 1))); do
  beat $cpu & hearts="$hearts $!"
  # Some busyboxes cannot bind it: one heart then beats for them all.
  taskset -pc $cpu $! >/dev/null || break
done
set -- $hearts

echo "running $#" >&3
( exec </dev/null >stdout 2>stderr 3<&-; . ./command )
status=$?

# The pipes end with their last writer: give a daemon left behind a second, then end it.
(
  sleep 1
  read -r self _ </proc/self/stat
  for proc in /proc/[0-9]*; do
    pid=\${proc#/proc/}
    case " 1 $self $watch $out $err $hearts " in *" $pid "*) continue ;; esac
    # Kernel threads have no command line; others' has no newline, which read calls a failure.
    read -r line <$proc/cmdline
    [ "$line" ] && kill -9 $pid
  done
) 2>/dev/null &
wait $out $err

count() { sed -n 's/^\\([0-9]*\\) bytes.*/\\1/p' $1.log; }
sync
echo "exit $status $(count stdout) $(count stderr)" >&3
sleep 60
poweroff -f
`;
