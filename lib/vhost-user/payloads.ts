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
} from './device-payloads.js';
import { INFLIGHT, LOG, MEMORY, SHMEM_MAPPING, SINGLE_REGION } from './memory-payloads.js';
import { NOTHING, type Payload } from './payload.js';
import { VRING_ADDR, VRING_AREA, VRING_FILE, VRING_STATE } from './ring-payloads.js';

export const PAYLOADS = {
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
} as const;

export type PayloadKind = keyof typeof PAYLOADS;

/** What a kind of payload is in JavaScript. */
export type PayloadValue<K extends PayloadKind> =
  (typeof PAYLOADS)[K] extends Payload<infer T> ? T : never;
