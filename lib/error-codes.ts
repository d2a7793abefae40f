/** The codes that are no errno's, for people: `docs/errors.md` is made from this table. */
import type { ErrorCode } from './errors.js';

/** Cause and cure of every code that is not an errno's. */
export const ERROR_CODES: Readonly<Record<ErrorCode, { cause: string; cure: string }>> = {
  ERR_ADDON_NOT_FOUND: {
    cause: 'the package has no binary for this processor, and none was built',
    cure: 'build it with `npm install && npm run build:native` in the package folder; it needs a C++ compiler, make and python3',
  },
  ERR_BROKER_PROTOCOL: {
    cause: 'what answers on the socket of a broker is none, or one of another version',
    cure: 'mend the path, or use the same version at both ends; `ulimit -n` must leave room for the descriptors',
  },
  ERR_BROKER_REFUSED: {
    cause:
      'the broker does not let this user have these queues: the user, the TAP or the number is not allowed',
    cure: 'start the broker with `--allow UID:TAP`, or a higher `--max-queues`; the hint has the very words',
  },
  ERR_BUFFERS_REFUSED: {
    cause: 'the runtime does not let shared memory be an ArrayBuffer, or does not let go of one',
    cure: 'use Node.js itself: some embedders forbid external buffers',
  },
  ERR_BUSY: {
    cause:
      'the object is doing what it was asked to do again: it has a listener, a consumer, or it runs',
    cure: 'end the first use before the second',
  },
  ERR_CLOSED: {
    cause: 'the object was closed',
    cure: 'open another; `close()` itself may be called twice',
  },
  ERR_FEATURES_NOT_OFFERED: {
    cause: 'a feature was required that the backend does not offer',
    cure: 'leave it out, or use a kernel that has it: `vhost-net doctor` names what this one offers',
  },
  ERR_FRAME_OFFLOAD: {
    cause:
      "a frame's headers are cut short or contradict each other, or its virtio-net header asks for what such a frame cannot have",
    cure: 'the message says what is wrong; whoever handles frames from outside drops such a one',
  },
  ERR_FRAME_SIZE: {
    cause: 'a frame is shorter than an Ethernet header or longer than 65557 bytes',
    cure: 'send frames of 14 to 65557 bytes',
  },
  ERR_HEADER_LENGTH: {
    cause:
      "the TAP's virtio-net header differs from the one that the features mean: every frame would be shifted",
    cure: 'set the length that the message names on the TAP, or open it with or without a header as it says',
  },
  ERR_INVALID_ARG_TYPE: { cause: 'an argument has the wrong type', cure: 'see the message' },
  ERR_INVALID_ARG_VALUE: {
    cause: 'an argument of the right type cannot be meant: an impossible name, overlapping regions',
    cure: 'see the message',
  },
  ERR_IOTLB_UNMAPPED: {
    cause: 'a ring lies where the IOMMU maps nothing, or not for what the device does there',
    cure: 'let `translate()` map all of the ring: descriptors and avail for reading, used for both',
  },
  ERR_MEMORY_IN_USE: {
    cause: 'guest memory, or a dirty log, was closed while a vhost device may write to it',
    cure: 'close the device or reset its owner first; take a log off with `setDirtyLog(null)`',
  },
  ERR_MEMORY_NOT_SHARED: {
    cause: 'a peer was to map guest memory that is anonymous, and so has no descriptor',
    cure: "create the memory with backing `'memfd'`, the default",
  },
  ERR_MEMORY_TRUNCATED: {
    cause: 'a vhost-user front-end cut a file short in which it shares memory, a log or notes',
    cure: "have it seal its files (`F_SEAL_SHRINK`), as `memory: 'sealed'` demands; look for who truncates them",
  },
  ERR_NO_TAP: {
    cause:
      'a port on a vhost-user socket was asked for its TAP, which is the other end’s, if it has any',
    cure: 'use `port.name`, which every port has, or open the port on a TAP',
  },
  ERR_OUT_OF_RANGE: {
    cause: 'a number, an address or a length is outside its range',
    cure: 'the message names the range',
  },
  ERR_REGION_TOO_LARGE: {
    cause: 'Node 20 cannot share a region of more than 4 GiB',
    cure: 'use Node 22 or newer, or several regions',
  },
  ERR_RING_BROKEN: {
    cause: 'the device gave back what it was not given, or the kernel gave the ring up',
    cure: 'close the port; what served the ring is at fault, and the kernel log may say more',
  },
  ERR_UNSUPPORTED_PLATFORM: {
    cause: 'the library was loaded on something other than Linux, or on a big-endian machine',
    cure: 'run it on Linux; installing and type-checking work anywhere',
  },
  ERR_VHOST_USER_BACKLOG: {
    cause: 'the other end of a vhost-user connection does not read what it is sent',
    cure: 'close the connection: the other end hangs',
  },
  ERR_VHOST_USER_DISCONNECTED: {
    cause:
      'the other end of a vhost-user connection went away: in the middle of a message, or before it replied',
    cure: 'connect again; what was negotiated before does not hold any more',
  },
  ERR_VHOST_USER_PROTOCOL: {
    cause:
      'the other end of a vhost-user connection sent what is no message, or none that may come here',
    cure: 'the message names what came and what is wrong with it: look for the fault at the other end, or mend the path',
  },
  ERR_VHOST_USER_REFUSED: {
    cause: 'a vhost-user back end said that it could not do what it was asked',
    cure: 'the message names the request, and the log of the back end says why',
  },
};
