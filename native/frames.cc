// Frames of a TAP, macvtap or packet socket: a readv or writev for each, many in one call of the
// addon.
#include "frame_vectors.h"

namespace vhostnet {

// framesRead(fd, vectors, ends, results, first, count): the number of frames tried. The last vector
// of each is spare room: the call ends behind the frame that needs it, or that fails.
static Napi::Value Read(const Napi::CallbackInfo& info) {
  FrameVectors frames(info);
  size_t at = frames.first;
  while (at < frames.end) {
    const struct iovec* vectors = frames.of(at);
    int count = frames.count(at);
    long result = Checked(readv(frames.fd, vectors, count));
    frames.results[at++] = static_cast<int32_t>(result);
    if (result < 0) break;
    long room = 0;
    for (int i = 0; i + 1 < count; i++) room += static_cast<long>(vectors[i].iov_len);
    if (result > room) break;
  }
  return Result(info.Env(), static_cast<long>(at - frames.first));
}

// framesWrite(fd, vectors, ends, results, first, count): the number of frames tried. The call ends
// behind the frame that fails.
static Napi::Value Write(const Napi::CallbackInfo& info) {
  FrameVectors frames(info);
  size_t at = frames.first;
  while (at < frames.end) {
    long result = Checked(writev(frames.fd, frames.of(at), frames.count(at)));
    frames.results[at++] = static_cast<int32_t>(result);
    if (result < 0) break;
  }
  return Result(info.Env(), static_cast<long>(at - frames.first));
}

void InitFrames(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "framesRead", Read);
  Export(env, exports, "framesWrite", Write);
}

}  // namespace vhostnet
