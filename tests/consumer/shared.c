/*
 * Two processes with one file of weights; C11 on Linux. Usage: shared FILE
 * Prints the lines of /proc/self/smaps about the file, with both processes having read all of it.
 */
#include "dense.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static int print_smaps(void) {
  char line[4096];
  int inside = 0;
  FILE *file = fopen("/proc/self/smaps", "r");
  if (file == 0) return 1;
  while (fgets(line, sizeof line, file) != 0) {
    if (strchr(line, '-') != 0 && strchr(line, ':') > strchr(line, '-')) {
      inside = strstr(line, ".weights") != 0;
    }
    if (inside) fputs(line, stdout);
  }
  return fclose(file);
}

int main(int count, char **arguments) {
  int ready[2], done[2], status = 1;
  char byte = 0;
  pid_t child;
  if (count != 2 || pipe(ready) != 0 || pipe(done) != 0) return 2;
  child = fork();
  if (child < 0) return 3;
  status = dense_map_weights(arguments[1]);
  if (child == 0) {
    if (write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 1) status = 1;
    return status;
  }
  if (read(ready[0], &byte, 1) != 1 || print_smaps() != 0) status = 1;
  if (write(done[1], &byte, 1) != 1 || waitpid(child, &count, 0) != child || count != 0) status = 1;
  return status;
}
