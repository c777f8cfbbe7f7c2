// Ends the guest: qemu's isa-debug-exit device makes its own exit status out of one byte written
// to its port, 2 * byte + 1. usage: power_off STATUS
#include <stdlib.h>
#include <sys/io.h>
#include <unistd.h>

enum { port = 0xf4, largest = 126 };  // qemu's status has eight bits

int main(int argc, char** argv) {
  int status = argc > 1 ? atoi(argv[1]) : 0;
  if (status < 0 || status > largest) status = largest;
  if (iopl(3) != 0) return 1;
  // + 1: an exit status of 1 is also what qemu has for its own errors.
  outb((unsigned char)(status + 1), port);
  for (;;) pause();
}
