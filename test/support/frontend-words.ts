/** What a front end says at the beginning, where the back end has all that it may have. */
export const HANDSHAKE = [
  'GET_FEATURES',
  'GET_PROTOCOL_FEATURES',
  'SET_PROTOCOL_FEATURES',
  'GET_QUEUE_NUM',
  'GET_MAX_MEM_SLOTS',
  'SET_BACKEND_REQ_FD',
  'SET_OWNER',
];
