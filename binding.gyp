{
  "targets": [
    {
      "target_name": "vhost_net",
      "conditions": [
        ["OS=='linux'", {
          "sources": [
            "native/addon.cc",
            "native/constants.cc",
            "native/errno_table.cc",
            "native/eventfd.cc",
            "native/fd.cc",
            "native/frames.cc",
            "native/glibc_floor.c",
            "native/io_uring.cc",
            "native/kvm.cc",
            "native/kvm_guest.cc",
            "native/layout.cc",
            "native/memory.cc",
            "native/memory_guard.cc",
            "native/netif.cc",
            "native/packet.cc",
            "native/poller.cc",
            "native/rtnetlink.cc",
            "native/transport_constants.c",
            "native/tun.cc",
            "native/unix_socket.cc",
            "native/vhost.cc",
            "native/vhost_iotlb.cc",
            "native/vhost_vring.cc",
            "native/virtio_constants.c",
            "native/virtio_layout.c"
          ],
          "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
          "defines": [
            "NAPI_VERSION=8",
            "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
            "_GNU_SOURCE"
          ],
          "cflags": ["-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden"],
          "cflags_cc": ["-std=c++17", "-fexceptions"],
          "ldflags": ["-Wl,-z,nodelete"],
          "cflags!": ["-fno-exceptions"],
          "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"]
        }, {
          "type": "none"
        }]
      ]
    }
  ]
}
