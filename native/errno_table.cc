// Names and texts of every errno that Linux has. Node's own table (libuv's) lacks EBADFD, which an
// unattached TAP descriptor returns, and prints EOPNOTSUPP as ENOTSUP.
#include <cstring>

#include "addon.h"

namespace vhostnet {

// The formatter would put a stair of this, another one each time.
// clang-format off
#define ERRNO_NAMES(E) \
  E(EPERM) E(ENOENT) E(ESRCH) E(EINTR) E(EIO) E(ENXIO) E(E2BIG) E(ENOEXEC) E(EBADF) E(ECHILD) \
  E(EAGAIN) E(ENOMEM) E(EACCES) E(EFAULT) E(ENOTBLK) E(EBUSY) E(EEXIST) E(EXDEV) E(ENODEV) \
  E(ENOTDIR) E(EISDIR) E(EINVAL) E(ENFILE) E(EMFILE) E(ENOTTY) E(ETXTBSY) E(EFBIG) E(ENOSPC) \
  E(ESPIPE) E(EROFS) E(EMLINK) E(EPIPE) E(EDOM) E(ERANGE) E(EDEADLK) E(ENAMETOOLONG) E(ENOLCK) \
  E(ENOSYS) E(ENOTEMPTY) E(ELOOP) E(ENOMSG) E(EIDRM) E(ECHRNG) E(EL2NSYNC) E(EL3HLT) E(EL3RST) \
  E(ELNRNG) E(EUNATCH) E(ENOCSI) E(EL2HLT) E(EBADE) E(EBADR) E(EXFULL) E(ENOANO) E(EBADRQC) \
  E(EBADSLT) E(EBFONT) E(ENOSTR) E(ENODATA) E(ETIME) E(ENOSR) E(ENONET) E(ENOPKG) E(EREMOTE) \
  E(ENOLINK) E(EADV) E(ESRMNT) E(ECOMM) E(EPROTO) E(EMULTIHOP) E(EDOTDOT) E(EBADMSG) \
  E(EOVERFLOW) E(ENOTUNIQ) E(EBADFD) E(EREMCHG) E(ELIBACC) E(ELIBBAD) E(ELIBSCN) E(ELIBMAX) \
  E(ELIBEXEC) E(EILSEQ) E(ERESTART) E(ESTRPIPE) E(EUSERS) E(ENOTSOCK) E(EDESTADDRREQ) \
  E(EMSGSIZE) E(EPROTOTYPE) E(ENOPROTOOPT) E(EPROTONOSUPPORT) E(ESOCKTNOSUPPORT) E(EOPNOTSUPP) \
  E(EPFNOSUPPORT) E(EAFNOSUPPORT) E(EADDRINUSE) E(EADDRNOTAVAIL) E(ENETDOWN) E(ENETUNREACH) \
  E(ENETRESET) E(ECONNABORTED) E(ECONNRESET) E(ENOBUFS) E(EISCONN) E(ENOTCONN) E(ESHUTDOWN) \
  E(ETOOMANYREFS) E(ETIMEDOUT) E(ECONNREFUSED) E(EHOSTDOWN) E(EHOSTUNREACH) E(EALREADY) \
  E(EINPROGRESS) E(ESTALE) E(EUCLEAN) E(ENOTNAM) E(ENAVAIL) E(EISNAM) E(EREMOTEIO) E(EDQUOT) \
  E(ENOMEDIUM) E(EMEDIUMTYPE) E(ECANCELED) E(ENOKEY) E(EKEYEXPIRED) E(EKEYREVOKED) \
  E(EKEYREJECTED) E(EOWNERDEAD) E(ENOTRECOVERABLE) E(ERFKILL) E(EHWPOISON)
// clang-format on

static const char* Name(int number) {
  switch (number) {
#define CASE(name) \
  case name:       \
    return #name;
    ERRNO_NAMES(CASE)
#undef CASE
    default:
      return nullptr;
  }
}

// errnoName(number): "EPERM", or undefined for a number that Linux does not have.
static Napi::Value ErrnoName(const Napi::CallbackInfo& info) {
  const char* name = Name(I32(info, 0));
  return name ? Napi::String::New(info.Env(), name).As<Napi::Value>() : info.Env().Undefined();
}

// errnoText(number): the C library's sentence.
static Napi::Value ErrnoText(const Napi::CallbackInfo& info) {
  char buffer[256];
  return Napi::String::New(info.Env(), strerror_r(I32(info, 0), buffer, sizeof buffer));
}

void InitErrnoTable(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "errnoName", ErrnoName);
  Export(env, exports, "errnoText", ErrnoText);
}

}  // namespace vhostnet
