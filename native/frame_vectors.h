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
    Bytes bytes = WordsArg(info, 1, napi_uint32_array);
    vectors = reinterpret_cast<struct iovec*>(bytes.data);
    if (reinterpret_cast<uintptr_t>(vectors) % alignof(struct iovec) != 0) {
      throw Napi::TypeError::New(info.Env(), "expected an array that begins on 8 bytes");
    }
    Bytes end_bytes = WordsArg(info, 2, napi_uint32_array);
    ends = reinterpret_cast<uint32_t*>(end_bytes.data);
    Bytes result_bytes = WordsArg(info, 3, napi_int32_array);
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
  static Bytes WordsArg(const Napi::CallbackInfo& info, size_t index, napi_typedarray_type type) {
    Bytes bytes = BytesArg(info, index);
    if (info[index].As<Napi::TypedArray>().TypedArrayType() != type) {
      throw Napi::TypeError::New(info.Env(), "expected an array of 32-bit words");
    }
    return bytes;
  }

  uint32_t start(size_t frame) const { return frame == 0 ? 0 : ends[frame - 1]; }
};

}  // namespace vhostnet
