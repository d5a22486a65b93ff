/* How many floats a vector may hold. Of wider ones than the processor has, compilers keep every sum in memory. */
#ifdef __AVX512F__
#define MOST_LANES 16
#elif defined(__AVX__)
#define MOST_LANES 8
#else
#define MOST_LANES 4
#endif
