/* Fitting SIRENs to pictures: Adam on all pixels at once, many SIRENs side by side, on one thread.
 *
 * Compiled once per network graph: the generated file defines the layers as constants (see siren_fitter.py), so that the
 * loops below have known lengths. A vector holds one number of LANES SIRENs: every operation does the same to each of
 * them, nothing is ever added up across a vector, and a SIREN's numbers do not depend on which others it is fitted with.
 * A picture is taken in blocks of pixels whose hidden values stay in the cache, and a tile of units and pixels shares
 * each value that is loaded.
 *
 * Layouts (float32; "vec" is one number of LANES SIRENs)
 *   parameters   vec [NUM_PARAMETERS]: for each layer weight [out, in], bias [out], as in flat vectors
 *   values       vec [units, BLOCK] of one block of pixels
 *   targets      vec [pixels, NUM_OUTPUTS]
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lanes.h"
#define LANES MOST_LANES
#ifdef __AVX512F__
#define TILE_UNITS 4
#else
#define TILE_UNITS 2
#endif
#define TILE_PIXELS 4
#define BLOCK 16          /* pixels, a multiple of TILE_PIXELS */

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t bits __attribute__((vector_size(LANES * 4)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

typedef struct {
    int in, out;
    float w0;             /* of the sine that follows; 0 for none */
    long weights, biases; /* where they start among the parameters */
    long values;          /* where the layer's units start among all layers' values */
} layer;

#include CONSTANTS_FILE   /* NUM_LAYERS, NUM_PARAMETERS, NUM_UNITS, NUM_OUTPUTS, LAYERS, FOR_EACH_LAYER[_BACKWARD] */

typedef struct {
    vec parameters[NUM_PARAMETERS], gradient[NUM_PARAMETERS], first[NUM_PARAMETERS], second[NUM_PARAMETERS];
    vec values[NUM_UNITS * BLOCK], slopes[NUM_UNITS * BLOCK], gradients[NUM_UNITS * BLOCK];
} memory;

INLINE vec splat(float x) { return x - (vec){0}; }

/* ---- sine and cosine -------------------------------------------------------------------------------------- */

/* x is brought to r in [-pi/2, pi/2] by k pi, subtracted in three parts of which the first two have few enough digits
 * for exact products; both functions then change sign with odd k. Errors stay below 2e-7 for |x| < 2,000.
 * The coefficients are the minimax ones in r^2, relative to (sin r - r) / r^3 and (cos r - 1) / r^2. */
INLINE void sincos_vec(vec x, vec *sine, vec *cosine) {
    const vec rounder = splat(12582912.0f);       /* 1.5 x 2^23: adding it leaves an integer in the last digits */
    const vec shifted = x * 0.318309886f + rounder;
    const bits sign = (bits)shifted << 31;
    const vec k = shifted - rounder;
    vec r = x - k * 3.140625f;
    r = r - k * 9.67502593994140625e-4f;
    r = r - k * 1.509957990978376432e-7f;
    const vec s = r * r;
    vec p = splat(2.599751496745739e-06f);
    p = p * s + -1.9806479394901544e-4f;
    p = p * s + 8.333015255630016e-3f;
    p = p * s + -1.6666656732559204e-1f;
    vec q = splat(2.3191267246147618e-05f);
    q = q * s + -1.3855798169970512e-3f;
    q = q * s + 4.166397452354431e-2f;
    q = q * s + -4.999993145465851e-1f;
    *sine = (vec)((bits)(r + r * s * p) ^ sign);
    *cosine = (vec)((bits)(1 + s * q) ^ sign);
}

/* ---- forward ---------------------------------------------------------------------------------------------- */

INLINE void forward_tile(const layer *l, const vec *parameters, const vec *in, vec *out, int unit, int units, int pixel) {
    vec sum[TILE_UNITS][TILE_PIXELS];
    const vec *weight = parameters + l->weights + (long)unit * l->in;
    UNROLL for (int u = 0; u < units; u++)
        UNROLL for (int p = 0; p < TILE_PIXELS; p++) sum[u][p] = parameters[l->biases + unit + u];
    for (int i = 0; i < l->in; i++)
        UNROLL for (int u = 0; u < units; u++)
            UNROLL for (int p = 0; p < TILE_PIXELS; p++)
                sum[u][p] += weight[(long)u * l->in + i] * in[i * BLOCK + pixel + p];
    UNROLL for (int u = 0; u < units; u++)
        UNROLL for (int p = 0; p < TILE_PIXELS; p++) out[(unit + u) * BLOCK + pixel + p] = sum[u][p];
}

/* A layer's values, and the slopes of its sine, from those of the layer before (or the places). */
INLINE void forward_layer(const layer *l, memory *m, const vec *in) {
    vec *out = m->values + l->values * BLOCK, *slopes = m->slopes + l->values * BLOCK;
    const int whole = l->out / TILE_UNITS * TILE_UNITS;
    for (int unit = 0; unit < whole; unit += TILE_UNITS)
        for (int pixel = 0; pixel < BLOCK; pixel += TILE_PIXELS)
            forward_tile(l, m->parameters, in, out, unit, TILE_UNITS, pixel);
    for (int unit = whole; unit < l->out; unit++)
        for (int pixel = 0; pixel < BLOCK; pixel += TILE_PIXELS)
            forward_tile(l, m->parameters, in, out, unit, 1, pixel);
    if (l->w0 != 0)
        for (int j = 0; j < l->out * BLOCK; j++) {
            vec sine, cosine;
            sincos_vec(l->w0 * out[j], &sine, &cosine);
            out[j] = sine;
            slopes[j] = l->w0 * cosine;
        }
}

/* ---- backward --------------------------------------------------------------------------------------------- */

INLINE void weight_gradient_tile(const layer *l, vec *gradient, const vec *in, const vec *above, int unit, int units,
                                 int input, int inputs) {
    vec sum[TILE_UNITS][TILE_PIXELS];
    vec *target = gradient + l->weights + (long)unit * l->in + input;
    UNROLL for (int u = 0; u < units; u++)
        UNROLL for (int i = 0; i < inputs; i++) sum[u][i] = target[(long)u * l->in + i];
    for (int p = 0; p < BLOCK; p++)
        UNROLL for (int u = 0; u < units; u++)
            UNROLL for (int i = 0; i < inputs; i++)
                sum[u][i] += above[(unit + u) * BLOCK + p] * in[(input + i) * BLOCK + p];
    UNROLL for (int u = 0; u < units; u++)
        UNROLL for (int i = 0; i < inputs; i++) target[(long)u * l->in + i] = sum[u][i];
}

INLINE void weight_gradient_rows(const layer *l, vec *gradient, const vec *in, const vec *above, int unit, int units) {
    const int whole = l->in / TILE_PIXELS * TILE_PIXELS;
    for (int input = 0; input < whole; input += TILE_PIXELS)
        weight_gradient_tile(l, gradient, in, above, unit, units, input, TILE_PIXELS);
    for (int input = whole; input < l->in; input++) weight_gradient_tile(l, gradient, in, above, unit, units, input, 1);
    for (int u = unit; u < unit + units; u++) {
        vec sum = gradient[l->biases + u];
        for (int p = 0; p < BLOCK; p++) sum += above[u * BLOCK + p];
        gradient[l->biases + u] = sum;
    }
}

INLINE void input_gradient_tile(const layer *l, const vec *parameters, const vec *slopes, const vec *above, vec *below,
                                int input, int inputs, int pixel) {
    vec sum[TILE_UNITS][TILE_PIXELS];
    UNROLL for (int i = 0; i < inputs; i++)
        UNROLL for (int p = 0; p < TILE_PIXELS; p++) sum[i][p] = (vec){0};
    for (int u = 0; u < l->out; u++)
        UNROLL for (int i = 0; i < inputs; i++)
            UNROLL for (int p = 0; p < TILE_PIXELS; p++)
                sum[i][p] += parameters[l->weights + (long)u * l->in + input + i] * above[u * BLOCK + pixel + p];
    UNROLL for (int i = 0; i < inputs; i++)
        UNROLL for (int p = 0; p < TILE_PIXELS; p++) {
            const long place = (input + i) * BLOCK + pixel + p;
            below[place] = sum[i][p] * slopes[place];
        }
}

/* Adds a layer's part of the gradient; passes the gradient on to the layer before, where there is one. */
INLINE void backward_layer(const layer *l, memory *m, const vec *in) {
    const vec *above = m->gradients + l->values * BLOCK;
    const int whole_out = l->out / TILE_UNITS * TILE_UNITS, whole_in = l->in / TILE_UNITS * TILE_UNITS;
    for (int unit = 0; unit < whole_out; unit += TILE_UNITS)
        weight_gradient_rows(l, m->gradient, in, above, unit, TILE_UNITS);
    for (int unit = whole_out; unit < l->out; unit++) weight_gradient_rows(l, m->gradient, in, above, unit, 1);
    if (l == LAYERS) return;
    const vec *slopes = m->slopes + l[-1].values * BLOCK;
    vec *below = m->gradients + l[-1].values * BLOCK;
    for (int input = 0; input < whole_in; input += TILE_UNITS)
        for (int pixel = 0; pixel < BLOCK; pixel += TILE_PIXELS)
            input_gradient_tile(l, m->parameters, slopes, above, below, input, TILE_UNITS, pixel);
    for (int input = whole_in; input < l->in; input++)
        for (int pixel = 0; pixel < BLOCK; pixel += TILE_PIXELS)
            input_gradient_tile(l, m->parameters, slopes, above, below, input, 1, pixel);
}

/* Adds the gradient of a block's squared errors times a factor. */
static void add_gradient(memory *m, const vec *places, const vec *targets, int num_pixels, float factor) {
#define INPUT(index) ((index) == 0 ? places : m->values + LAYERS[(index) == 0 ? 0 : (index) - 1].values * BLOCK)
#define FORWARD(index) forward_layer(&LAYERS[index], m, INPUT(index));
#define BACKWARD(index) backward_layer(&LAYERS[index], m, INPUT(index));
    FOR_EACH_LAYER(FORWARD)
    const vec *shown = m->values + LAYERS[NUM_LAYERS - 1].values * BLOCK;
    vec *error = m->gradients + LAYERS[NUM_LAYERS - 1].values * BLOCK;
    for (int c = 0; c < NUM_OUTPUTS; c++)
        for (int p = 0; p < BLOCK; p++)
            error[c * BLOCK + p] = p < num_pixels ? (shown[c * BLOCK + p] - targets[p * NUM_OUTPUTS + c]) * factor : (vec){0};
    FOR_EACH_LAYER_BACKWARD(BACKWARD)
}

/* ---- Adam ------------------------------------------------------------------------------------------------- */

/* One step of torch.optim.Adam with its defaults (0.9, 0.999, 1e-8). */
static void adam_step(memory *m, double rate, long step) {
    const float size = rate / (1 - pow(0.9, step)), scale = 1 / sqrt(1 - pow(0.999, step));
    float *parameters = (float *)m->parameters, *first = (float *)m->first, *second = (float *)m->second;
    const float *gradient = (const float *)m->gradient;
    for (long j = 0; j < NUM_PARAMETERS * LANES; j++) {
        first[j] += (gradient[j] - first[j]) * 0.1f;
        second[j] = second[j] * 0.999f + gradient[j] * gradient[j] * 0.001f;
        parameters[j] -= size * first[j] / (sqrtf(second[j]) * scale + 1e-8f);
    }
}

/* ---- what Python calls ------------------------------------------------------------------------------------ */

/* Rows of numbers, one a SIREN, to vectors; lanes beyond the last row repeat it. */
static void to_lanes(const float *rows, long num_rows, long length, vec *lanes) {
    for (int lane = 0; lane < LANES; lane++) {
        const float *row = rows + (lane < num_rows ? lane : num_rows - 1) * length;
        for (long j = 0; j < length; j++) lanes[j][lane] = row[j];
    }
}

/* SIRENs side by side that one call fits at the price of one. */
int zoovet_lanes(void) { return LANES; }

/* Fit SIRENs in place.
 *   flat       [num_sirens, NUM_PARAMETERS]
 *   targets    [num_sirens, num_pixels, NUM_OUTPUTS], what the outputs should be
 *   places     [num_pixels, 2]
 *   rates      [num_steps], the learning rate of every step
 * Returns 0, or 1 where there is no memory. */
int zoovet_fit(float *flat, const float *targets, long num_sirens, const float *places, long num_pixels,
               const double *rates, long num_steps) {
    const long num_blocks = (num_pixels + BLOCK - 1) / BLOCK, num_targets = num_pixels * NUM_OUTPUTS;
    const long floats = sizeof(memory) + (num_blocks * BLOCK * 2 + num_targets) * sizeof(vec);
    memory *m = aligned_alloc(64, (floats + 63) / 64 * 64);
    if (m == NULL) return 1;
    vec *grid = (vec *)(m + 1), *wanted = grid + num_blocks * BLOCK * 2;
    for (long p = 0; p < num_blocks * BLOCK; p++)
        for (int axis = 0; axis < 2; axis++)
            grid[(p / BLOCK * 2 + axis) * BLOCK + p % BLOCK] = splat(p < num_pixels ? places[p * 2 + axis] : 0);
    for (long siren = 0; siren < num_sirens; siren += LANES) {
        const long here = num_sirens - siren < LANES ? num_sirens - siren : LANES;
        memset(m, 0, sizeof *m);
        to_lanes(flat + siren * NUM_PARAMETERS, here, NUM_PARAMETERS, m->parameters);
        to_lanes(targets + siren * num_targets, here, num_targets, wanted);
        for (long step = 0; step < num_steps; step++) {
            memset(m->gradient, 0, sizeof m->gradient);
            for (long b = 0; b < num_blocks; b++) {
                const long left = num_pixels - b * BLOCK;
                add_gradient(m, grid + b * 2 * BLOCK, wanted + b * BLOCK * NUM_OUTPUTS, left < BLOCK ? left : BLOCK,
                             2.0f / num_targets);
            }
            adam_step(m, rates[step], step + 1);
        }
        for (long lane = 0; lane < here; lane++)
            for (long j = 0; j < NUM_PARAMETERS; j++) flat[(siren + lane) * NUM_PARAMETERS + j] = m->parameters[j][lane];
    }
    free(m);
    return 0;
}

/* Sines and cosines of numbers, as the fit computes them. */
void zoovet_sincos(const float *x, long count, float *sines, float *cosines) {
    for (long j = 0; j < count; j++) {
        vec sine, cosine;
        sincos_vec(splat(x[j]), &sine, &cosine);
        sines[j] = sine[0];
        cosines[j] = cosine[0];
    }
}
