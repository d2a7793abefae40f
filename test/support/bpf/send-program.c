// send-program PATH VALUE: loads an eBPF program that returns VALUE, whatever the frame, and sends its
// descriptor to who listens on the unix socket PATH.
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int load(int value) {
  struct bpf_insn code[] = {
      {.code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = value},
      {.code = BPF_JMP | BPF_EXIT},
  };
  union bpf_attr attributes = {
      .prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
      .insns = (__u64)(unsigned long)code,
      .insn_cnt = sizeof code / sizeof code[0],
      .license = (__u64)(unsigned long)"GPL",
  };
  return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
}

static int connect_to(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  return connect(fd, (struct sockaddr*)&address, sizeof address) < 0 ? -1 : fd;
}

int main(int count, char** arguments) {
  if (count != 3) return 2;
  int program = load((int)strtol(arguments[2], NULL, 0));
  int connection = connect_to(arguments[1]);
  if (program < 0 || connection < 0) {
    perror("send-program");
    return 1;
  }
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {0};
  char byte = 0;
  struct iovec part = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &part,
      .msg_iovlen = 1,
      .msg_control = &control,
      .msg_controllen = sizeof control,
  };
  control.header.cmsg_level = SOL_SOCKET;
  control.header.cmsg_type = SCM_RIGHTS;
  control.header.cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(&control.header), &program, sizeof program);
  return sendmsg(connection, &message, 0) == 1 ? 0 : 1;
}
