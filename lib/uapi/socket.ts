/** Socket types of `sys/socket.h`. */

/** Bytes in order, without boundaries. */
export const SOCK_STREAM = 1;
/** Messages in order, each whole. */
export const SOCK_SEQPACKET = 5;
