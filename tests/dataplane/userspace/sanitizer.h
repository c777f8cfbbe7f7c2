// What a test can ask for only without sanitizers.
#pragma once

#include <gtest/gtest.h>

#if defined(__has_feature)
#if __has_feature(undefined_behavior_sanitizer)
#define FAIRLEAD_UNDER_UBSAN 1
#endif
#endif

// UBSan looks at objects through a pipe of its own, and calls them invalid when it gets none.
#ifdef FAIRLEAD_UNDER_UBSAN
#define NEEDS_NO_FILES() GTEST_SKIP() << "NOT RUN: UBSan itself needs file descriptors"
#else
#define NEEDS_NO_FILES() static_cast<void>(0)
#endif
