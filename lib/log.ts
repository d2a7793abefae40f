/** Logging, off until `DEBUG` names it: one namespace per layer, `vhost-net:*` for all. */
import createDebug from 'debug';

/** Every ioctl and socket option, with its arguments and its result. */
export const logIoctl = createDebug('vhost-net:ioctl');
/** Kernel objects opened and closed. */
export const logHost = createDebug('vhost-net:host');
/** Rings: set-up, broken rings. */
export const logVring = createDebug('vhost-net:vring');
/** Backends: bring-up and stop, step by step. */
export const logVhost = createDebug('vhost-net:vhost');
/** Brokers: who asked for what, and got it or not. */
export const logBroker = createDebug('vhost-net:broker');
/** Ports: life cycle, link changes, starving and refilling. */
export const logPort = createDebug('vhost-net:port');
/** Cards: status, features, commands of the control queue, registers that are misused. */
export const logDevice = createDebug('vhost-net:device');
/** vhost-user: every message of a connection, and why it ended. */
export const logVhostUser = createDebug('vhost-net:vhost-user');
