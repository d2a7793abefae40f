/** Every kind of payload, by the name that the table of messages gives it. */
import {
  CONFIG,
  CRYPTO_SESSION,
  IOTLB,
  SHMEM_CONFIG,
  STATE_TRANSFER,
  STATE_TRANSFER_REPLY,
  U64,
  UUID,
  type VhostUserConfig,
  type VhostUserIotlbMessage,
  type VhostUserShMemConfig,
  type VhostUserTransferDeviceState,
  type VhostUserTransferReply,
} from './device-payloads.js';
import {
  INFLIGHT,
  LOG,
  MEMORY,
  SHMEM_MAPPING,
  SINGLE_REGION,
  type VhostUserInflight,
  type VhostUserLog,
  type VhostUserMemoryRegion,
  type VhostUserMMap,
} from './memory-payloads.js';
import { NOTHING, type Payload } from './payload.js';
import {
  type VhostUserVringAddr,
  type VhostUserVringArea,
  type VhostUserVringFile,
  type VhostUserVringState,
  VRING_ADDR,
  VRING_AREA,
  VRING_FILE,
  VRING_STATE,
} from './ring-payloads.js';

/** What each kind of payload is in JavaScript. */
export interface VhostUserPayloads {
  nothing: undefined;
  u64: bigint;
  vringState: VhostUserVringState;
  vringAddr: VhostUserVringAddr;
  vringFile: VhostUserVringFile;
  vringArea: VhostUserVringArea;
  memory: readonly VhostUserMemoryRegion[];
  singleRegion: VhostUserMemoryRegion;
  log: VhostUserLog;
  inflight: VhostUserInflight;
  shmemMapping: VhostUserMMap;
  shmemConfig: VhostUserShMemConfig;
  iotlb: VhostUserIotlbMessage;
  config: VhostUserConfig;
  /** Not looked into: a session of a crypto device. */
  cryptoSession: Uint8Array;
  /** 16 bytes. */
  uuid: Uint8Array;
  stateTransfer: VhostUserTransferDeviceState;
  stateTransferReply: VhostUserTransferReply;
}

export type VhostUserPayloadKind = keyof VhostUserPayloads;

export const PAYLOADS: { readonly [K in VhostUserPayloadKind]: Payload<VhostUserPayloads[K]> } = {
  nothing: NOTHING,
  u64: U64,
  vringState: VRING_STATE,
  vringAddr: VRING_ADDR,
  vringFile: VRING_FILE,
  vringArea: VRING_AREA,
  memory: MEMORY,
  singleRegion: SINGLE_REGION,
  log: LOG,
  inflight: INFLIGHT,
  shmemMapping: SHMEM_MAPPING,
  shmemConfig: SHMEM_CONFIG,
  iotlb: IOTLB,
  config: CONFIG,
  cryptoSession: CRYPTO_SESSION,
  uuid: UUID,
  stateTransfer: STATE_TRANSFER,
  stateTransferReply: STATE_TRANSFER_REPLY,
};
