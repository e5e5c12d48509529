// How functions leave the library: C names, so that Python's ctypes finds them.
#pragma once

#if defined(_WIN32)
#define LCAT_EXPORT extern "C" __declspec(dllexport)
#else
#define LCAT_EXPORT extern "C" __attribute__((visibility("default")))
#endif
