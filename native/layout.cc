// Sizes and offsets of the kernel's structs, as this build's headers have them: what the tests hold
// the library's own layouts against.
#include <linux/kvm.h>

#include <cstddef>

#include "addon.h"
#include "tun_uapi.h"
#include "vhost_uapi.h"
#include "virtio_layout.h"

namespace vhostnet {

struct Field {
  const char* name;
  size_t offset;
};

static void Struct(Napi::Object layout, const char* name, size_t size,
                   std::initializer_list<Field> fields) {
  Napi::Env env = layout.Env();
  Napi::Object object = Napi::Object::New(env);
  object.Set("sizeof", Napi::Number::New(env, static_cast<double>(size)));
  for (const Field& field : fields) {
    object.Set(field.name, Napi::Number::New(env, static_cast<double>(field.offset)));
  }
  layout.Set(name, object);
}

#define AT(type, member) (Field{#member, offsetof(type, member)})

// layouts(): {struct: {sizeof, field: offset, …}}
static Napi::Value Layouts(const Napi::CallbackInfo& info) {
  Napi::Object all = Napi::Object::New(info.Env());
#define STRUCT(type, ...) Struct(all, #type, sizeof(struct type), {__VA_ARGS__})
  STRUCT(vhost_vring_state, AT(vhost_vring_state, index), AT(vhost_vring_state, num));
  STRUCT(vhost_vring_file, AT(vhost_vring_file, index), AT(vhost_vring_file, fd));
  STRUCT(vhost_vring_addr, AT(vhost_vring_addr, index), AT(vhost_vring_addr, flags),
         AT(vhost_vring_addr, desc_user_addr), AT(vhost_vring_addr, used_user_addr),
         AT(vhost_vring_addr, avail_user_addr), AT(vhost_vring_addr, log_guest_addr));
  STRUCT(vhost_memory, AT(vhost_memory, nregions), AT(vhost_memory, padding),
         AT(vhost_memory, regions));
  STRUCT(vhost_memory_region, AT(vhost_memory_region, guest_phys_addr),
         AT(vhost_memory_region, memory_size), AT(vhost_memory_region, userspace_addr),
         AT(vhost_memory_region, flags_padding));
  STRUCT(vhost_iotlb_msg, AT(vhost_iotlb_msg, iova), AT(vhost_iotlb_msg, size),
         AT(vhost_iotlb_msg, uaddr), AT(vhost_iotlb_msg, perm), AT(vhost_iotlb_msg, type));
  STRUCT(vhost_msg, AT(vhost_msg, type), AT(vhost_msg, iotlb));
  STRUCT(vhost_msg_v2, AT(vhost_msg_v2, type), AT(vhost_msg_v2, asid), AT(vhost_msg_v2, iotlb));
  STRUCT(vhost_features_array, AT(vhost_features_array, count), AT(vhost_features_array, features));
  STRUCT(vhost_worker_state, AT(vhost_worker_state, worker_id));
  STRUCT(vhost_vring_worker, AT(vhost_vring_worker, index), AT(vhost_vring_worker, worker_id));
  STRUCT(tun_filter, AT(tun_filter, flags), AT(tun_filter, count), AT(tun_filter, addr));
  STRUCT(kvm_ioeventfd, AT(kvm_ioeventfd, datamatch), AT(kvm_ioeventfd, addr),
         AT(kvm_ioeventfd, len), AT(kvm_ioeventfd, fd), AT(kvm_ioeventfd, flags));
  STRUCT(kvm_irqfd, AT(kvm_irqfd, fd), AT(kvm_irqfd, gsi), AT(kvm_irqfd, flags),
         AT(kvm_irqfd, resamplefd));
  for (const virtio_layout* row = virtio_layouts; row->structure; row++) {
    if (!row->member) all.Set(row->structure, Napi::Object::New(info.Env()));
    all.Get(row->structure)
        .As<Napi::Object>()
        .Set(row->member ? row->member : "sizeof",
             Napi::Number::New(info.Env(), static_cast<double>(row->offset)));
  }
  return all;
}

void InitLayout(Napi::Env env, Napi::Object exports) { Export(env, exports, "layouts", Layouts); }

}  // namespace vhostnet
