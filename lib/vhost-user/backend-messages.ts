/** The messages that the back-end sends, on the socket of `VHOST_USER_SET_BACKEND_REQ_FD`. */
import * as uapi from '../uapi/vhost-user.js';
import { body, MAYBE_ONE, ONE, UNLESS_BIT_8 } from './descriptor-rules.js';
import { notice, type VhostUserMessageRule } from './message-rules.js';

const STATE = body('vringState');
const UUID = body('uuid');

export const BACKEND_MESSAGES = {
  VHOST_USER_BACKEND_IOTLB_MSG: notice(uapi.VHOST_USER_BACKEND_IOTLB_MSG, body('iotlb')),
  VHOST_USER_BACKEND_CONFIG_CHANGE_MSG: notice(
    uapi.VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
    body('nothing'),
    uapi.VHOST_USER_PROTOCOL_F_CONFIG,
  ),
  VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG: notice(
    uapi.VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG,
    body('vringArea', UNLESS_BIT_8),
    uapi.VHOST_USER_PROTOCOL_F_HOST_NOTIFIER,
  ),
  VHOST_USER_BACKEND_VRING_CALL: notice(
    uapi.VHOST_USER_BACKEND_VRING_CALL,
    STATE,
    uapi.VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  ),
  VHOST_USER_BACKEND_VRING_ERR: notice(
    uapi.VHOST_USER_BACKEND_VRING_ERR,
    STATE,
    uapi.VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  ),
  VHOST_USER_BACKEND_SHARED_OBJECT_ADD: notice(
    uapi.VHOST_USER_BACKEND_SHARED_OBJECT_ADD,
    UUID,
    uapi.VHOST_USER_PROTOCOL_F_SHARED_OBJECT,
  ),
  VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE: notice(
    uapi.VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE,
    UUID,
    uapi.VHOST_USER_PROTOCOL_F_SHARED_OBJECT,
  ),
  VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP: {
    from: 'back-end',
    id: uapi.VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP,
    needs: uapi.VHOST_USER_PROTOCOL_F_SHARED_OBJECT,
    request: [UUID],
    replies: 'always',
    reply: [body('u64', MAYBE_ONE)],
  },
  VHOST_USER_BACKEND_SHMEM_MAP: notice(
    uapi.VHOST_USER_BACKEND_SHMEM_MAP,
    body('shmemMapping', ONE),
    uapi.VHOST_USER_PROTOCOL_F_SHMEM,
  ),
  VHOST_USER_BACKEND_SHMEM_UNMAP: notice(
    uapi.VHOST_USER_BACKEND_SHMEM_UNMAP,
    body('shmemMapping'),
    uapi.VHOST_USER_PROTOCOL_F_SHMEM,
  ),
} as const satisfies Readonly<Record<string, VhostUserMessageRule>>;
