// Keeps the addon loadable wherever Node.js's own binaries are: glibc 2.28, libstdc++ of GCC 5.
// The C++ library looks here whether a process has one thread only, and glibc has it since 2.32;
// with one of our own, which always says no, nothing newer is asked for. For the same reason fd.cc
// uses statx, and binding.gyp leaves run-time type information on: without it std::make_shared asks
// for GCC 9's library.
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
