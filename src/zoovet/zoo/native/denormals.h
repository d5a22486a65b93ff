/* Arithmetic without denormal numbers, for the time that a network is trained or run.
 *
 * Weight decay takes the weights of a channel that is silent on all images down to numbers below 1.2e-38, with which
 * processors calculate some twenty times slower.
 */
#include <stdint.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

/* Take denormal numbers for zero on this thread; returns what it did before, for restore_denormals. */
static uint64_t flush_denormals(void) {
#if defined(__SSE__)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
#elif defined(__aarch64__)
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (1ull << 24)));
    return before;
#else
    return 0;
#endif
}

static void restore_denormals(uint64_t before) {
#if defined(__SSE__)
    _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}
