// Sizes and offsets of virtio's structs. Its headers are not valid C++, so a C file reads them.
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

#ifdef __cplusplus
}
#endif
