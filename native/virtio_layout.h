// Sizes and offsets of virtio's structs, and its constants. Its headers are not valid C++, so C
// files read them.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// One member; a null member stands for the struct itself, whose size is in offset.
struct virtio_layout {
  const char* structure;
  const char* member;
  size_t offset;
};

// Ends with a null structure.
extern const struct virtio_layout virtio_layouts[];

struct virtio_constant {
  const char* name;
  unsigned value;
};

// Ends with a null name.
extern const struct virtio_constant virtio_constants[];
extern const struct virtio_constant transport_constants[];

#ifdef __cplusplus
}
#endif
