// What the C library has and Swift's Glibc module leaves out, because it is built without _GNU_SOURCE.
// glibc 2.34 and later.
#pragma once

#include <spawn.h>

int pipe2(int ends[2], int flags);
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int first);
int posix_spawn_file_actions_addchdir_np(
    posix_spawn_file_actions_t *restrict actions, const char *restrict folder);
