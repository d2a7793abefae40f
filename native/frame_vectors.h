// Frames as JavaScript lays them out for many system calls in one call of the addon.
#pragma once

#include <sys/uio.h>

#include <algorithm>

#include "fd.h"

namespace vhostnet {

// Arguments (fd, vectors, ends, results, first, count): `vectors` is an array of struct iovec, of
// which frame i has those from ends[i - 1] (0 for the first) to before ends[i]. results[i] takes
// the bytes of frame i, or -errno. The call is about `count` frames from `first` on.
struct FrameVectors {
  explicit FrameVectors(const Napi::CallbackInfo& info) : fd(FdArg(info, 0)) {
    Bytes bytes = BytesArg(info, 1);
    vectors = reinterpret_cast<struct iovec*>(bytes.data);
    Bytes end_bytes = BytesArg(info, 2);
    ends = reinterpret_cast<uint32_t*>(end_bytes.data);
    Bytes result_bytes = BytesArg(info, 3);
    results = reinterpret_cast<int32_t*>(result_bytes.data);
    size_t most = std::min(end_bytes.size, result_bytes.size) / sizeof(uint32_t);
    first = U32(info, 4);
    end = std::min<size_t>(most, static_cast<size_t>(first) + U32(info, 5));
    size_t held = bytes.size / sizeof(struct iovec);
    for (size_t i = first > 0 ? first - 1 : 0, before = 0; i < end; before = ends[i++]) {
      if (ends[i] < before || ends[i] > held) {
        throw Napi::RangeError::New(info.Env(), "a frame's vectors are not there");
      }
    }
  }

  struct iovec* of(size_t frame) const { return vectors + start(frame); }
  int count(size_t frame) const { return static_cast<int>(ends[frame] - start(frame)); }

  int fd;
  struct iovec* vectors;
  uint32_t* ends;
  int32_t* results;
  size_t first;
  size_t end;

 private:
  uint32_t start(size_t frame) const { return frame == 0 ? 0 : ends[frame - 1]; }
};

}  // namespace vhostnet
