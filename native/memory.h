// A shared mapping, and who keeps it from being unmapped.
#pragma once

#include <memory>
#include <vector>

#include "addon.h"

namespace vhostnet {

struct Guarded;
void Unguard(Guarded* guard);

// Unmapped when the last owner lets go: the ArrayBuffer that JavaScript sees (its finalizer, which
// is the only place that knows no view is left, even after ArrayBuffer.prototype.transfer), and
// every vhost device that was told the address.
struct Mapping {
  Mapping(void* address, size_t size) : address(address), size(size) {}
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  void* const address;
  const size_t size;
  // Where its file may be cut short; see memory_guard.cc.
  Guarded* guard = nullptr;
};

// The live mappings that overlap [address, address + size).
void CollectMappings(Napi::Env env, uint64_t address, uint64_t size,
                     std::vector<std::shared_ptr<Mapping>>* found);

}  // namespace vhostnet
