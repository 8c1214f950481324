/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz - what all fuzzers share. Built with -Dfuzzers=true (clang) they are libFuzzer programs; else driver.c
 * runs them over files and directories of inputs, and over mutations of those.
 */
#ifndef VECFS_TESTS_FUZZ_FUZZ_H
#define VECFS_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
