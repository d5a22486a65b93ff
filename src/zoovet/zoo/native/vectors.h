/* Vectors of LANES floats, which whoever includes this has defined, and what is computed with them. */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t mask __attribute__((vector_size(LANES * 4)));
typedef uint32_t bits __attribute__((vector_size(LANES * 4)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

INLINE vec load(const float *p) { vec v; memcpy(&v, p, sizeof v); return v; }
INLINE void store(float *p, vec v) { memcpy(p, &v, sizeof v); }
INLINE vec splat(float x) { return x - (vec){0}; }
INLINE vec choose(mask m, vec a, vec b) { return (vec)(((mask)a & m) | ((mask)b & ~m)); }

/* tanh as a ratio of polynomials on [-7.9, 7.9] (the minimax form used by most vector libraries); error below 4e-7. */
INLINE vec tanh_vec(vec x) {
    const vec limit = splat(7.90531110763549805f);
    x = choose(x > limit, limit, x);
    x = choose(x < -limit, -limit, x);
    vec s = x * x;
    vec p = splat(-2.76076847742355e-16f);
    p = p * s + 2.00018790482477e-13f;
    p = p * s + -8.60467152213735e-11f;
    p = p * s + 5.12229709037114e-08f;
    p = p * s + 1.48572235717979e-05f;
    p = p * s + 6.37261928875436e-04f;
    p = p * s + 4.89352455891786e-03f;
    vec q = splat(1.19825839466702e-06f);
    q = q * s + 1.18534705686654e-04f;
    q = q * s + 2.26843463243900e-03f;
    q = q * s + 4.89352518554385e-03f;
    return x * p / q;
}

INLINE vec sigmoid_vec(vec x) { return 0.5f + 0.5f * tanh_vec(0.5f * x); }
