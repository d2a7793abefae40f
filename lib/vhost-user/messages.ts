/**
 * Every message of vhost-user: its id, its payload, its descriptors, its reply, and the protocol feature
 * that it needs. All that the codec knows of a message, it knows from here. The source is QEMU's
 * `docs/interop/vhost-user.rst`, "Front-end message types" and "Back-end message types".
 */
import * as uapi from '../uapi/vhost-user.js';
import { BACKEND_MESSAGES } from './backend-messages.js';
import { body, IF_MAPPED, MAYBE_ONE, ONE, ONE_EACH, UNLESS_BIT_8 } from './descriptor-rules.js';
import { command, query, type VhostUserMessageRule } from './message-rules.js';

const NOTHING = body('nothing');
const U64 = body('u64');
const STATE = body('vringState');
const FILE = body('vringFile', UNLESS_BIT_8);
const IOTLB = body('iotlb');
const CONFIG = body('config');
const SESSION = body('cryptoSession');
const UUID = body('uuid');
const DESCRIPTOR = body('nothing', ONE);

export const VHOST_USER_MESSAGES = {
  VHOST_USER_GET_FEATURES: query(uapi.VHOST_USER_GET_FEATURES, NOTHING, [U64]),
  VHOST_USER_SET_FEATURES: command(uapi.VHOST_USER_SET_FEATURES, U64),
  VHOST_USER_SET_OWNER: command(uapi.VHOST_USER_SET_OWNER, NOTHING),
  VHOST_USER_RESET_OWNER: command(uapi.VHOST_USER_RESET_OWNER, NOTHING),
  VHOST_USER_SET_MEM_TABLE: {
    ...command(uapi.VHOST_USER_SET_MEM_TABLE, body('memory', ONE_EACH)),
    // In postcopy the back-end tells where it has the regions.
    reply: [U64, body('memory')],
  },
  VHOST_USER_SET_LOG_BASE: {
    from: 'front-end',
    id: uapi.VHOST_USER_SET_LOG_BASE,
    needs: null,
    // With LOG_SHMFD the log's place in a file; without, an address that has no meaning elsewhere.
    request: [body('log', ONE), U64],
    replies: 'if-log-comes',
    // The specification has no payload here; libvhost-user sends a number, rust-vmm the log.
    reply: [NOTHING, U64, body('log')],
  },
  VHOST_USER_SET_LOG_FD: command(uapi.VHOST_USER_SET_LOG_FD, DESCRIPTOR),
  VHOST_USER_SET_VRING_NUM: command(uapi.VHOST_USER_SET_VRING_NUM, STATE),
  VHOST_USER_SET_VRING_ADDR: command(uapi.VHOST_USER_SET_VRING_ADDR, body('vringAddr')),
  VHOST_USER_SET_VRING_BASE: command(uapi.VHOST_USER_SET_VRING_BASE, STATE),
  VHOST_USER_GET_VRING_BASE: query(uapi.VHOST_USER_GET_VRING_BASE, STATE, [STATE]),
  VHOST_USER_SET_VRING_KICK: command(uapi.VHOST_USER_SET_VRING_KICK, FILE),
  VHOST_USER_SET_VRING_CALL: command(uapi.VHOST_USER_SET_VRING_CALL, FILE),
  VHOST_USER_SET_VRING_ERR: command(uapi.VHOST_USER_SET_VRING_ERR, FILE),
  VHOST_USER_GET_PROTOCOL_FEATURES: query(uapi.VHOST_USER_GET_PROTOCOL_FEATURES, NOTHING, [U64]),
  VHOST_USER_SET_PROTOCOL_FEATURES: command(uapi.VHOST_USER_SET_PROTOCOL_FEATURES, U64),
  VHOST_USER_GET_QUEUE_NUM: query(
    uapi.VHOST_USER_GET_QUEUE_NUM,
    NOTHING,
    [U64],
    uapi.VHOST_USER_PROTOCOL_F_MQ,
  ),
  VHOST_USER_SET_VRING_ENABLE: command(uapi.VHOST_USER_SET_VRING_ENABLE, STATE),
  VHOST_USER_SEND_RARP: command(uapi.VHOST_USER_SEND_RARP, U64, uapi.VHOST_USER_PROTOCOL_F_RARP),
  VHOST_USER_NET_SET_MTU: command(uapi.VHOST_USER_NET_SET_MTU, U64, uapi.VHOST_USER_PROTOCOL_F_MTU),
  VHOST_USER_SET_BACKEND_REQ_FD: command(
    uapi.VHOST_USER_SET_BACKEND_REQ_FD,
    DESCRIPTOR,
    uapi.VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  ),
  VHOST_USER_IOTLB_MSG: query(uapi.VHOST_USER_IOTLB_MSG, IOTLB, [U64]),
  VHOST_USER_SET_VRING_ENDIAN: command(
    uapi.VHOST_USER_SET_VRING_ENDIAN,
    STATE,
    uapi.VHOST_USER_PROTOCOL_F_CROSS_ENDIAN,
  ),
  VHOST_USER_GET_CONFIG: query(
    uapi.VHOST_USER_GET_CONFIG,
    CONFIG,
    // Nothing is an error.
    [CONFIG, NOTHING],
    uapi.VHOST_USER_PROTOCOL_F_CONFIG,
  ),
  VHOST_USER_SET_CONFIG: command(
    uapi.VHOST_USER_SET_CONFIG,
    CONFIG,
    uapi.VHOST_USER_PROTOCOL_F_CONFIG,
  ),
  VHOST_USER_CREATE_CRYPTO_SESSION: query(
    uapi.VHOST_USER_CREATE_CRYPTO_SESSION,
    SESSION,
    [SESSION],
    uapi.VHOST_USER_PROTOCOL_F_CRYPTO_SESSION,
  ),
  VHOST_USER_CLOSE_CRYPTO_SESSION: command(
    uapi.VHOST_USER_CLOSE_CRYPTO_SESSION,
    U64,
    uapi.VHOST_USER_PROTOCOL_F_CRYPTO_SESSION,
  ),
  VHOST_USER_POSTCOPY_ADVISE: query(
    uapi.VHOST_USER_POSTCOPY_ADVISE,
    NOTHING,
    // A userfaultfd, where one could be had.
    [body('nothing', MAYBE_ONE)],
    uapi.VHOST_USER_PROTOCOL_F_PAGEFAULT,
  ),
  VHOST_USER_POSTCOPY_LISTEN: command(
    uapi.VHOST_USER_POSTCOPY_LISTEN,
    NOTHING,
    uapi.VHOST_USER_PROTOCOL_F_PAGEFAULT,
  ),
  VHOST_USER_POSTCOPY_END: query(
    uapi.VHOST_USER_POSTCOPY_END,
    NOTHING,
    [U64],
    uapi.VHOST_USER_PROTOCOL_F_PAGEFAULT,
  ),
  VHOST_USER_GET_INFLIGHT_FD: query(
    uapi.VHOST_USER_GET_INFLIGHT_FD,
    body('inflight'),
    [body('inflight', IF_MAPPED)],
    uapi.VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD,
  ),
  VHOST_USER_SET_INFLIGHT_FD: command(
    uapi.VHOST_USER_SET_INFLIGHT_FD,
    body('inflight', ONE),
    uapi.VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD,
  ),
  VHOST_USER_GPU_SET_SOCKET: command(uapi.VHOST_USER_GPU_SET_SOCKET, DESCRIPTOR),
  VHOST_USER_RESET_DEVICE: command(
    uapi.VHOST_USER_RESET_DEVICE,
    NOTHING,
    uapi.VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  ),
  VHOST_USER_VRING_KICK: command(
    uapi.VHOST_USER_VRING_KICK,
    STATE,
    uapi.VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  ),
  VHOST_USER_GET_MAX_MEM_SLOTS: query(
    uapi.VHOST_USER_GET_MAX_MEM_SLOTS,
    NOTHING,
    [U64],
    uapi.VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  ),
  VHOST_USER_ADD_MEM_REG: {
    ...command(
      uapi.VHOST_USER_ADD_MEM_REG,
      body('singleRegion', ONE),
      uapi.VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
    ),
    // In postcopy the back-end tells where it has the region.
    reply: [U64, body('singleRegion')],
  },
  VHOST_USER_REM_MEM_REG: command(
    uapi.VHOST_USER_REM_MEM_REG,
    // Some front-ends send the region's descriptor, which is to be closed and not used.
    body('singleRegion', MAYBE_ONE),
    uapi.VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  ),
  VHOST_USER_SET_STATUS: command(
    uapi.VHOST_USER_SET_STATUS,
    U64,
    uapi.VHOST_USER_PROTOCOL_F_STATUS,
  ),
  VHOST_USER_GET_STATUS: query(
    uapi.VHOST_USER_GET_STATUS,
    NOTHING,
    [U64],
    uapi.VHOST_USER_PROTOCOL_F_STATUS,
  ),
  VHOST_USER_GET_SHARED_OBJECT: query(
    uapi.VHOST_USER_GET_SHARED_OBJECT,
    UUID,
    // A dma-buf, where there is one; of a payload the specification says nothing.
    [body('nothing', MAYBE_ONE), body('u64', MAYBE_ONE), body('uuid', MAYBE_ONE)],
    uapi.VHOST_USER_PROTOCOL_F_SHARED_OBJECT,
  ),
  VHOST_USER_SET_DEVICE_STATE_FD: query(
    uapi.VHOST_USER_SET_DEVICE_STATE_FD,
    body('stateTransfer', ONE),
    [body('stateTransferReply', UNLESS_BIT_8)],
    uapi.VHOST_USER_PROTOCOL_F_DEVICE_STATE,
  ),
  VHOST_USER_CHECK_DEVICE_STATE: query(
    uapi.VHOST_USER_CHECK_DEVICE_STATE,
    NOTHING,
    [U64],
    uapi.VHOST_USER_PROTOCOL_F_DEVICE_STATE,
  ),
  VHOST_USER_GET_SHMEM_CONFIG: query(
    uapi.VHOST_USER_GET_SHMEM_CONFIG,
    NOTHING,
    [body('shmemConfig')],
    uapi.VHOST_USER_PROTOCOL_F_SHMEM,
  ),

  ...BACKEND_MESSAGES,
} as const satisfies Readonly<Record<string, VhostUserMessageRule>>;
