/**
 * vhost-net: drive Linux's in-kernel virtio-net accelerator from Node.js.
 *
 * From the simplest to the barest: {@link NetPort} sends and receives frames on a TAP;
 * {@link KernelBackend} serves rings that you laid out; {@link VhostNet} is every ioctl of
 * `/dev/vhost-net` under its kernel name. {@link VhostUserConnection} speaks to peers in user space.
 *
 * @module
 */

export type { AllowEntry } from './broker/allow-list.js';
export {
  Broker,
  type BrokerGrant,
  type BrokerOptions,
  type BrokerRefusal,
} from './broker/broker.js';
export type { BrokeredPair } from './broker/queue-pairs.js';
export { requestQueues } from './broker/request-queues.js';
export type { KvmEvents } from './device/assign-all.js';
export type { VirtioNetDeviceEvents, VirtioNetDeviceOptions } from './device/card-options.js';
export type { CardState, QueueState } from './device/card-state.js';
export type { ConfigSpace } from './device/config-space.js';
export { type ControlTarget, RX_MODES, type RxMode } from './device/control-commands.js';
export { DeviceQueue } from './device/device-queue.js';
export type { MmioInterruptOptions, MmioIrq } from './device/mmio-interrupts.js';
export type { VirtioMmioState } from './device/mmio-state.js';
export type { MsiRoute, MsiRoutes } from './device/msi-delivery.js';
export type { IoeventfdHost } from './device/pci-notify.js';
export type { VirtioPciState } from './device/pci-state.js';
export type { RxFilterState } from './device/rx-filter.js';
export {
  VirtioMmioTransport,
  type VirtioMmioTransportOptions,
} from './device/virtio-mmio-transport.js';
export { VirtioNetDevice } from './device/virtio-net-device.js';
export {
  VirtioPciTransport,
  type VirtioPciTransportOptions,
} from './device/virtio-pci-transport.js';
export { ERROR_CODES } from './error-codes.js';
export {
  type ErrorCode,
  StateError,
  VhostError,
} from './errors.js';
export { HINTS } from './hints.js';
export { Descriptor } from './host/descriptor.js';
export { EventFd } from './host/event-fd.js';
export { GuestMemory, type Location } from './host/guest-memory.js';
export { formatAddress, parseAddress } from './host/ip-address.js';
export { type KvmProbe, probeKvm } from './host/kvm-probe.js';
export { type Ioeventfd, type Irqfd, KvmVm } from './host/kvm-vm.js';
export { type LinkChange, LinkMonitor } from './host/link-monitor.js';
export { MacVtap, type MacVtapOptions } from './host/mac-vtap.js';
export { MemoryRegion, type RegionBacking, type RegionOptions } from './host/memory-region.js';
export { checkInterfaceName, formatMac, NetInterface, parseMac } from './host/net-interface.js';
export type { PacketQueue } from './host/packet-queue.js';
export { PacketSocket, type PacketSocketOptions } from './host/packet-socket.js';
export { Tap, type TapOptions } from './host/tap.js';
export { TunQueue, UNLIMITED_SEND_BUFFER } from './host/tun-queue.js';
export { UnixListener, type UnixListenerOptions } from './host/unix-listener.js';
export {
  type PeerCredentials,
  ReceivedDescriptor,
  type ReceivedMessage,
  UnixSocket,
  type UnixSocketType,
} from './host/unix-socket.js';
export { InProcessBackend } from './in-process/in-process-backend.js';
export type { InProcessCounters } from './in-process/in-process-counters.js';
export { completeChecksum } from './net/checksum.js';
export { MEANING_CHANGERS, negotiate, PORT_FEATURES } from './net/features.js';
export { flowHash } from './net/flow-hash.js';
export { Frame, LONGEST_FRAME, type Sendable, SHORTEST_FRAME } from './net/frame.js';
export {
  clearHeader,
  HEADER_LENGTHS,
  type HeaderLength,
  headerLengthOf,
  type NetHeader,
  type Offload,
  plainOffload,
  readHeader,
  readNetHeader,
  writeHeader,
  writeNetHeader,
} from './net/header.js';
export { OFFLOAD_FEATURES, offloadFeatures, tunOffloads } from './net/offload-features.js';
export { OFFLOADS, type OffloadName } from './net/offload-names.js';
export { prepareOffload } from './net/prepare-offload.js';
export { Segmenter } from './net/segmenter.js';
export type { PairBacklog, PortCounters } from './port/counters.js';
export { NetPort } from './port/net-port.js';
export { PORT_BACKENDS, type PortBackend } from './port/port-backend.js';
export { type NetPortEvents, PortLifecycle } from './port/port-lifecycle.js';
export type { NetPortOptions, PortSocket, QueueDescriptors } from './port/port-options.js';
export type { PortState } from './port/port-state.js';
export type { PairState, RingState } from './port/queue-pair.js';
export * from './uapi/kvm.js';
export * from './uapi/socket.js';
export * from './uapi/tun.js';
export * from './uapi/vhost.js';
export * from './uapi/vhost-user.js';
export * from './uapi/virtio-mmio.js';
export * from './uapi/virtio-net.js';
export * from './uapi/virtio-ring.js';
export type {
  BackendConfig,
  QueuePairConfig,
  QueuePairState,
  VhostBackend,
  VringConfig,
} from './vhost/backend.js';
export {
  DirtyLog,
  type DirtyLogOptions,
  type DirtyRange,
} from './vhost/dirty-log.js';
export {
  Iotlb,
  type IotlbChange,
  type IotlbNeed,
  type IotlbOptions,
} from './vhost/iotlb.js';
export type { IotlbFault, IotlbFaultReason } from './vhost/iotlb-channel.js';
export { type IotlbMapping, type IotlbRange, maxIotlbEntries } from './vhost/iotlb-mapping.js';
export { KernelBackend, type KernelBackendOptions } from './vhost/kernel-backend.js';
export type { DeviceOptions } from './vhost/kernel-pair.js';
export {
  type IotlbFields,
  type IotlbMessage,
  maxMemRegions,
  VhostDevice,
  type VhostMemoryRegion,
} from './vhost/vhost-device.js';
export { VhostNet, type VringUserAddresses } from './vhost/vhost-net.js';
export { VhostUserBackend } from './vhost-user/backend.js';
export type { BackendCounters } from './vhost-user/backend-counters.js';
export { VhostUserDevice } from './vhost-user/backend-device.js';
export type { MemoryPolicy } from './vhost-user/backend-memory.js';
export type {
  VhostUserBackendEvents,
  VhostUserBackendOptions,
} from './vhost-user/backend-options.js';
export type { HookResult, SessionHooks } from './vhost-user/backend-session.js';
export {
  decodeVhostUserMessage,
  encodeVhostUserReply,
  encodeVhostUserRequest,
  vhostUserRequestName,
} from './vhost-user/codec.js';
export {
  VhostUserConnection,
  type VhostUserConnectionOptions,
  type VhostUserMessageListener,
} from './vhost-user/connection.js';
export type { VhostUserBody, VhostUserDescriptorRule } from './vhost-user/descriptor-rules.js';
export type {
  VhostUserConfig,
  VhostUserIotlbMessage,
  VhostUserShMemConfig,
  VhostUserTransferDeviceState,
  VhostUserTransferReply,
} from './vhost-user/device-payloads.js';
export { VhostUserFrontend } from './vhost-user/frontend.js';
export { FrontendLink, type VhostUserFrontendEvents } from './vhost-user/frontend-link.js';
export type { VhostUserFrontendOptions } from './vhost-user/frontend-options.js';
export {
  HEADER_SIZE as VHOST_USER_HEADER_SIZE,
  type Header as VhostUserHeader,
  readVhostUserHeader,
  type VhostUserDirection,
} from './vhost-user/header.js';
export type {
  VhostUserInflight,
  VhostUserLog,
  VhostUserMemoryRegion,
  VhostUserMMap,
} from './vhost-user/memory-payloads.js';
export type {
  VhostUserMessageRule,
  VhostUserReplyTime,
  VhostUserRequester,
} from './vhost-user/message-rules.js';
export type {
  DecodedVhostUserMessage,
  VhostUserMessage,
  VhostUserReply,
  VhostUserReplyPayload,
  VhostUserRequest,
  VhostUserRequestName,
  VhostUserRequestPayload,
} from './vhost-user/message-types.js';
export { VHOST_USER_MESSAGES } from './vhost-user/messages.js';
export type { FramesListener } from './vhost-user/pair-host.js';
export type { VhostUserPayloadKind, VhostUserPayloads } from './vhost-user/payloads.js';
export { VhostUserRequests } from './vhost-user/requests.js';
export type {
  VhostUserVringAddr,
  VhostUserVringArea,
  VhostUserVringFile,
  VhostUserVringState,
} from './vhost-user/ring-payloads.js';
export { Chain } from './vring/chain.js';
export type { ChainRecord, IndirectTables } from './vring/descriptor-table.js';
export { VringDevice, type VringDeviceOptions } from './vring/device.js';
export { VringDriver } from './vring/driver.js';
export type { VringDriverOptions, VringDriverState } from './vring/driver-options.js';
export {
  availBytes,
  checkRingSize,
  descBytes,
  placeVring,
  usedBytes,
  type VringAddresses,
  vringBytes,
} from './vring/layout.js';
export { SEGMENT_WORDS } from './vring/views.js';
