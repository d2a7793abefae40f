/** UnixSocket: a connection to another process of this host, through which descriptors travel. */
import { checkInteger, StateError, typeError, valueError } from '../errors.js';
import { type Fd, native, type Poller } from '../native.js';
import { checked, checkedValue, systemError } from '../syscall.js';
import { SOCK_SEQPACKET, SOCK_STREAM } from '../uapi/socket.js';
import { Descriptor, duplicate } from './descriptor.js';

const EAGAIN = -11;
const EPROTOTYPE = -91;
/** Descriptors that the kernel takes with one message (`SCM_MAX_FD`). */
export const MOST_DESCRIPTORS = 253;

/** `'stream'`: bytes without boundaries. `'seqpacket'`: whole messages. Both ends must agree. */
export type UnixSocketType = 'stream' | 'seqpacket';

/** Who is at the other end, as the kernel saw them when they connected or began to listen. */
export interface PeerCredentials {
  /** 0 where the process is outside this process's pid namespace. */
  pid: number;
  /** Seen from this user namespace: 65534 for any that it does not know. */
  uid: number;
  gid: number;
}

/** A descriptor that came through a socket, or is to go through one, of whatever kind: `fromFd` of a class takes a duplicate. */
export class ReceivedDescriptor extends Descriptor {
  /** @internal */
  constructor(fd: Fd) {
    super(fd, 'received descriptor');
  }

  /** A duplicate of a descriptor that somebody else owns, to be sent. Throws `EBADF`, `EMFILE`. */
  static fromFd(fd: number): ReceivedDescriptor {
    return new ReceivedDescriptor(duplicate(fd));
  }
}

export interface ReceivedMessage {
  /** Bytes written to the buffer; 0 when the other end has closed the connection. */
  size: number;
  /** To be closed by the receiver. */
  descriptors: ReceivedDescriptor[];
  /**
   * The message was longer than the buffer, or had more descriptors than were allowed or than this
   * process may open. Then `descriptors` is empty: those that came are closed.
   */
  truncated: boolean;
}

/** The kernel's number for a type. */
export function socketType(type: UnixSocketType): number {
  if (type !== 'stream' && type !== 'seqpacket') {
    throw valueError(`the type of a unix socket is 'stream' or 'seqpacket', not '${type}'`);
  }
  return type === 'stream' ? SOCK_STREAM : SOCK_SEQPACKET;
}

/** Throws unless a path can be meant: an empty one would be a name of the kernel's choice. */
export function checkSocketPath(path: unknown): string {
  if (typeof path !== 'string') throw typeError(`the path of a socket must be a string`);
  if (path === '' || path.includes('\0')) {
    throw valueError('the path of a socket must not be empty, and have no zero byte');
  }
  return path;
}

/** A connected AF_UNIX socket, never blocking and close-on-exec (unix(7)). */
export class UnixSocket extends Descriptor {
  #poller: Poller | undefined;

  /** @internal */
  constructor(fd: Fd) {
    super(fd, 'unix socket');
  }

  /**
   * Connects to who listens on `path`. Throws `ENOENT`, `ECONNREFUSED`, `EACCES`, `EPROTOTYPE` where
   * the listener is of another type, `EAGAIN` where too many wait to be accepted.
   */
  static connect(path: string, type: UnixSocketType): UnixSocket {
    checkSocketPath(path);
    const fd = checkedValue<Fd>(native.unixOpen(socketType(type)), 'socket(AF_UNIX)');
    try {
      checked(native.unixConnect(fd, path), 'connect(AF_UNIX)', path);
      return new UnixSocket(fd);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** Two that are connected with each other: one to keep, one to give away. Throws `EMFILE`, `ENFILE`. */
  static pair(type: UnixSocketType): [UnixSocket, UnixSocket] {
    const [near, far] = checkedValue<[Fd, Fd]>(
      native.unixPair(socketType(type)),
      'socketpair(AF_UNIX)',
    );
    return [new UnixSocket(near), new UnixSocket(far)];
  }

  /**
   * A duplicate of a connected socket that somebody else owns. The open file that both share becomes
   * non-blocking. Throws `EBADF`, `EMFILE`, `ENOTSOCK`, `EAFNOSUPPORT` for a socket that is no unix socket, `EPROTOTYPE`
   * for one that is not of `type` (default: any).
   */
  static fromFd(fd: number, type?: UnixSocketType): UnixSocket {
    const wanted = type && socketType(type);
    const own = duplicate(fd);
    try {
      const is = checked(native.unixType(own), 'getsockopt(SO_TYPE)', undefined, [own.number()]);
      if (wanted !== undefined && is !== wanted) {
        throw systemError(EPROTOTYPE, 'getsockopt(SO_TYPE)');
      }
      checked(native.setNonblock(own), 'fcntl(F_SETFL)', undefined, [own.number()]);
      return new UnixSocket(own);
    } catch (error) {
      own.close();
      throw error;
    }
  }

  /** Who is at the other end: the kernel's word, not theirs (`SO_PEERCRED`). */
  get peer(): PeerCredentials {
    return checkedValue(native.unixPeer(this.handle), 'getsockopt(SO_PEERCRED)');
  }

  /**
   * Sends `bytes`, at least one, with up to 253 descriptors, which stay the sender's. Returns how many
   * bytes went: of a stream maybe not all (the descriptors went with the first), 0 while the other end
   * has too much to read. Throws `EPIPE`, `ECONNRESET`, `EMSGSIZE`, `ETOOMANYREFS`.
   */
  send(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): number {
    checkInteger('the number of bytes', bytes.length, 1, 2 ** 31 - 1);
    checkInteger('the number of descriptors', descriptors.length, 0, MOST_DESCRIPTORS);
    const handles = descriptors.map((descriptor) => descriptor.handle);
    const result = native.unixSend(this.handle, bytes, handles);
    if (result >= 0) return result;
    if (result === EAGAIN) return 0;
    throw systemError(result, 'sendmsg(AF_UNIX)');
  }

  /**
   * The next message, or what waits of a stream, with up to `mostDescriptors` (0 to 253) descriptors;
   * undefined when nothing waits. With 0 no descriptor of the other end's ever enters this process.
   * Throws `ECONNRESET`, after which what the other end had sent can still be read.
   */
  receive(buffer: Uint8Array, mostDescriptors = 0): ReceivedMessage | undefined {
    checkInteger('the size of the buffer', buffer.length, 1, 2 ** 31 - 1);
    checkInteger('mostDescriptors', mostDescriptors, 0, MOST_DESCRIPTORS);
    const result = native.unixReceive(this.handle, buffer, mostDescriptors);
    if (result === EAGAIN) return undefined;
    if (typeof result === 'number') throw systemError(result, 'recvmsg(AF_UNIX)');
    const { size, fds, truncated } = result;
    return { size, descriptors: fds.map((fd) => new ReceivedDescriptor(fd)), truncated };
  }

  /**
   * Calls `listener` while there is something to receive, the end and a reset included, until
   * {@link UnixSocket.offReadable} or `close()`. It must receive until nothing waits. Keeps the
   * process alive. Throws `ERR_BUSY` where there is a listener already.
   */
  onReadable(listener: () => void): void {
    if (this.#poller) throw new StateError('ERR_BUSY', 'the socket has a listener already');
    const poller = new native.Poller(this.handle, false, () => listener());
    checked(poller.error, 'uv_poll_start');
    this.#poller = poller;
  }

  /** Ends the subscription. The listener is not called again. */
  offReadable(): void {
    this.#poller?.close();
    this.#poller = undefined;
  }

  /** Lets the process end although there is a listener. */
  unref(): this {
    this.#poller?.unref();
    return this;
  }

  override close(): void {
    this.offReadable();
    super.close();
  }

  override closeAsync(): Promise<void> {
    this.offReadable();
    return super.closeAsync();
  }
}
