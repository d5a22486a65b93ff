/* Training and running one small network, one image at a time, on one thread.
 *
 * Compiled once per network spec: the generated file defines the layers as constants (see compiler.py),
 * includes this one, and every loop below is unrolled for them. An image's activations and gradients stay in the
 * first-level cache, a vector holds 16 channels of one pixel, and a tile of pixels shares each weight that is loaded.
 *
 * Every layer is a convolution: a linear layer is one on a 1 x 1 map, or with a kernel as large as the map.
 *
 * Layouts (float32; channels rounded up to whole vectors, "lanes", beyond the first layer's input)
 *   image        [channels, height, width], as torch has it
 *   map          [height + 2 padding, width + 2 padding, channels], padded for the layer that reads it
 *   parameters   for each layer: weight [kernel height, kernel width, in, out lanes], bias [out lanes]
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#define LANES 16
typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t mask __attribute__((vector_size(LANES * 4)));
typedef uint32_t bits __attribute__((vector_size(LANES * 4)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")
#ifdef __AVX512F__
#define TILE 14       /* pixels whose sums are held in registers at once */
#else
#define TILE 6
#endif

enum { IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID };
enum { NO_POOL, GLOBAL_POOL, AVERAGE_POOL, MAX_POOL };
enum { SGD, ADAM, RMSPROP };

typedef struct {
    int in, out, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int in_h, in_w, out_h, out_w;                 /* maps before and after the convolution */
    int activation;
    float slope;
    int pool, pool_h, pool_w, pool_stride_h, pool_stride_w, pool_pad_h, pool_pad_w, pooled_h, pooled_w;
    int in_lanes;                                 /* floats a pixel of the input map takes */
    long weights;                                 /* where the layer's parameters start */
} layer;

/* Where a map's pixels are: the address of its first real pixel and the step from row to row. */
typedef struct { float *data; long row, pixel; } map;

INLINE int out_lanes(const layer *l) { return (l->out + LANES - 1) / LANES * LANES; }
INLINE long num_weights(const layer *l) { return (long)l->kernel_h * l->kernel_w * l->in * out_lanes(l); }
INLINE int padded_w(const layer *l) { return l->in_w + 2 * l->pad_w; }
INLINE int padded_h(const layer *l) { return l->in_h + 2 * l->pad_h; }
INLINE long map_floats(const layer *l) { return (long)padded_h(l) * padded_w(l) * l->in_lanes; }
INLINE long row_floats(const layer *l) { return (long)padded_w(l) * l->in_lanes; }
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

INLINE vec activate(const layer *l, vec z) {
    switch (l->activation) {
    case RELU: return choose(z > 0, z, (vec){0});
    case LEAKY_RELU: return choose(z > 0, z, z * l->slope);
    case TANH: return tanh_vec(z);
    case SIGMOID: return 0.5f + 0.5f * tanh_vec(0.5f * z);
    default: return z;
    }
}

/* The activation's derivative from its value y. */
INLINE vec derivative(const layer *l, vec y) {
    switch (l->activation) {
    case RELU: return choose(y > 0, splat(1), (vec){0});
    case LEAKY_RELU: return choose(y > 0, splat(1), splat(l->slope));
    case TANH: return 1 - y * y;
    case SIGMOID: return y * (1 - y);
    default: return splat(1);
    }
}

/* ---- convolution ------------------------------------------------------------------------------------------ */

INLINE void forward_tile(const layer *l, const float *parameters, const float *in, map out, int block, int h, int w,
                         int rows, int columns) {
    vec sum[TILE];
    const float *weight = parameters + l->weights + block * LANES;
    const vec bias = load(parameters + l->weights + num_weights(l) + block * LANES);
    UNROLL for (int p = 0; p < rows * columns; p++) sum[p] = bias;
    for (int i = 0; i < l->kernel_h; i++)
        for (int j = 0; j < l->kernel_w; j++) {
            const float *x = in + (h * l->stride_h + i * l->dilation_h) * row_floats(l)
                             + (w * l->stride_w + j * l->dilation_w) * l->in_lanes;
            const float *tap = weight + (long)(i * l->kernel_w + j) * l->in * out_lanes(l);
            for (int c = 0; c < l->in; c++) {
                const vec k = load(tap + (long)c * out_lanes(l));
                UNROLL for (int p = 0; p < rows * columns; p++)
                    sum[p] += x[(p / columns) * l->stride_h * row_floats(l) + (p % columns) * l->stride_w * l->in_lanes + c] * k;
            }
        }
    UNROLL for (int p = 0; p < rows * columns; p++)
        store(out.data + (h + p / columns) * out.row + (w + p % columns) * out.pixel + block * LANES, activate(l, sum[p]));
}

/* Gradient to the input: each tile of output pixels adds to the input pixels under every kernel position. */
INLINE void input_gradient_tile(const layer *l, const float *transposed, map gradient, float *in_gradient, int block,
                                int h, int w, int rows, int columns) {
    const float *g = gradient.data + h * gradient.row + w * gradient.pixel;
    for (int i = 0; i < l->kernel_h; i++)
        for (int j = 0; j < l->kernel_w; j++) {
            float *x = in_gradient + (h * l->stride_h + i * l->dilation_h) * row_floats(l)
                       + (w * l->stride_w + j * l->dilation_w) * l->in_lanes + block * LANES;
            const float *tap = transposed + (long)(i * l->kernel_w + j) * l->out * l->in_lanes + block * LANES;
            vec sum[TILE];
            UNROLL for (int p = 0; p < rows * columns; p++)
                sum[p] = load(x + (p / columns) * l->stride_h * row_floats(l) + (p % columns) * l->stride_w * l->in_lanes);
            for (int o = 0; o < l->out; o++) {
                const vec k = load(tap + (long)o * l->in_lanes);
                UNROLL for (int p = 0; p < rows * columns; p++)
                    sum[p] += g[(p / columns) * gradient.row + (p % columns) * gradient.pixel + o] * k;
            }
            UNROLL for (int p = 0; p < rows * columns; p++)
                store(x + (p / columns) * l->stride_h * row_floats(l) + (p % columns) * l->stride_w * l->in_lanes, sum[p]);
        }
}

/* Cover the output map with tiles whose sizes are constants: full ones, and what remains at the right and below. */
#define TILE_COLUMNS(l) ((l)->out_w < TILE ? (l)->out_w : TILE)
#define TILE_ROWS(l) (TILE / TILE_COLUMNS(l) < (l)->out_h ? TILE / TILE_COLUMNS(l) : (l)->out_h)
#define BAND(CALL, l, h, rows)                                                          \
    do {                                                                                \
        int w = 0;                                                                      \
        for (; w + TILE_COLUMNS(l) <= (l)->out_w; w += TILE_COLUMNS(l)) CALL(h, w, rows, TILE_COLUMNS(l)); \
        if ((l)->out_w % TILE_COLUMNS(l)) CALL(h, w, rows, (l)->out_w % TILE_COLUMNS(l)); \
    } while (0)
#define COVER(CALL, l)                                                                  \
    do {                                                                                \
        int h = 0;                                                                      \
        for (; h + TILE_ROWS(l) <= (l)->out_h; h += TILE_ROWS(l)) BAND(CALL, l, h, TILE_ROWS(l)); \
        if ((l)->out_h % TILE_ROWS(l)) BAND(CALL, l, h, (l)->out_h % TILE_ROWS(l));     \
    } while (0)

INLINE void convolve(const layer *l, const float *parameters, const float *in, map out) {
    for (int block = 0; block < out_lanes(l) / LANES; block++) {
#define CALL(h, w, rows, columns) forward_tile(l, parameters, in, out, block, h, w, rows, columns)
        COVER(CALL, l);
#undef CALL
    }
}

INLINE void input_gradient(const layer *l, const float *transposed, map gradient, float *in_gradient) {
    memset(in_gradient, 0, map_floats(l) * sizeof(float));
    for (int block = 0; block < l->in_lanes / LANES; block++) {
#define CALL(h, w, rows, columns) input_gradient_tile(l, transposed, gradient, in_gradient, block, h, w, rows, columns)
        COVER(CALL, l);
#undef CALL
    }
}

/* Gradient to `count` of the weights that one output block reads: those from `channel` on at kernel positions
 * `first` to `last`; all of them are summed in registers over the map. */
INLINE void weight_gradient_block(const layer *l, const float *in, map gradient, float *into, int block, int first,
                                  int last, int channel, int count) {
    vec sum[32];
    UNROLL for (int t = 0; t < (last - first) * count; t++)
        sum[t] = load(into + ((long)(first + t / count) * l->in + channel + t % count) * out_lanes(l) + block * LANES);
    for (int h = 0; h < l->out_h; h++)
        for (int w = 0; w < l->out_w; w++) {
            const vec g = load(gradient.data + h * gradient.row + w * gradient.pixel + block * LANES);
            const float *x = in + h * l->stride_h * row_floats(l) + w * l->stride_w * l->in_lanes + channel;
            UNROLL for (int t = 0; t < (last - first) * count; t++) {
                const int i = (first + t / count) / l->kernel_w, j = (first + t / count) % l->kernel_w;
                sum[t] += x[i * l->dilation_h * row_floats(l) + j * l->dilation_w * l->in_lanes + t % count] * g;
            }
        }
    UNROLL for (int t = 0; t < (last - first) * count; t++)
        store(into + ((long)(first + t / count) * l->in + channel + t % count) * out_lanes(l) + block * LANES, sum[t]);
}

INLINE void weight_gradient(const layer *l, const float *in, map gradient, float *gradients) {
    float *into = gradients + l->weights;
    const int positions = l->kernel_h * l->kernel_w;
    for (int block = 0; block < out_lanes(l) / LANES; block++) {
        if (positions * l->in <= 28) {
            weight_gradient_block(l, in, gradient, into, block, 0, positions, 0, l->in);
        } else {
            for (int k = 0; k < positions; k++) {
                int c = 0;
                for (; c + LANES <= l->in; c += LANES) weight_gradient_block(l, in, gradient, into, block, k, k + 1, c, LANES);
                if (l->in % LANES) weight_gradient_block(l, in, gradient, into, block, k, k + 1, c, l->in % LANES);
            }
        }
        vec sum = load(into + num_weights(l) + block * LANES);
        for (int h = 0; h < l->out_h; h++)
            for (int w = 0; w < l->out_w; w++) sum += load(gradient.data + h * gradient.row + w * gradient.pixel + block * LANES);
        store(into + num_weights(l) + block * LANES, sum);
    }
}

/* ---- pooling ---------------------------------------------------------------------------------------------- */

#define WINDOW(l, h, w, i, j, y, x)                                      \
    const int y = (h) * (l)->pool_stride_h + (i) - (l)->pool_pad_h;      \
    const int x = (w) * (l)->pool_stride_w + (j) - (l)->pool_pad_w;      \
    if (y < 0 || y >= (l)->out_h || x < 0 || x >= (l)->out_w) continue;

INLINE void pool(const layer *l, map in, map out) {
    for (int block = 0; block < out_lanes(l); block += LANES)
        for (int h = 0; h < l->pooled_h; h++)
            for (int w = 0; w < l->pooled_w; w++) {
                vec value = splat(l->pool == MAX_POOL ? -INFINITY : 0);
                for (int i = 0; i < l->pool_h; i++)
                    for (int j = 0; j < l->pool_w; j++) {
                        WINDOW(l, h, w, i, j, y, x)
                        const vec v = load(in.data + y * in.row + x * in.pixel + block);
                        value = l->pool == MAX_POOL ? choose(v > value, v, value) : value + v;
                    }
                if (l->pool != MAX_POOL) value = value * (1.0f / (l->pool_h * l->pool_w));
                store(out.data + h * out.row + w * out.pixel + block, value);
            }
}

/* A maximum's gradient goes to the first place that has it, as in torch. */
INLINE void pool_gradient(const layer *l, map in, map out_gradient, map in_gradient) {
    for (int h = 0; h < l->out_h; h++)
        for (int w = 0; w < l->out_w; w++)
            for (int block = 0; block < out_lanes(l); block += LANES)
                store(in_gradient.data + h * in_gradient.row + w * in_gradient.pixel + block, (vec){0});
    for (int block = 0; block < out_lanes(l); block += LANES)
        for (int h = 0; h < l->pooled_h; h++)
            for (int w = 0; w < l->pooled_w; w++) {
                const vec g = load(out_gradient.data + h * out_gradient.row + w * out_gradient.pixel + block);
                vec best = splat(-INFINITY);
                if (l->pool == MAX_POOL)
                    for (int i = 0; i < l->pool_h; i++)
                        for (int j = 0; j < l->pool_w; j++) {
                            WINDOW(l, h, w, i, j, y, x)
                            const vec v = load(in.data + y * in.row + x * in.pixel + block);
                            best = choose(v > best, v, best);
                        }
                mask taken = (mask){0};
                for (int i = 0; i < l->pool_h; i++)
                    for (int j = 0; j < l->pool_w; j++) {
                        WINDOW(l, h, w, i, j, y, x)
                        float *into = in_gradient.data + y * in_gradient.row + x * in_gradient.pixel + block;
                        if (l->pool == MAX_POOL) {
                            const mask here = (load(in.data + y * in.row + x * in.pixel + block) == best) & ~taken;
                            taken |= here;
                            store(into, load(into) + choose(here, g, (vec){0}));
                        } else {
                            store(into, load(into) + g * (1.0f / (l->pool_h * l->pool_w)));
                        }
                    }
            }
}

/* ---- the network ------------------------------------------------------------------------------------------ */

#include CONSTANTS_FILE /* NUM_LAYERS, LAYERS[], NUM_PARAMETERS, NUM_TRANSPOSED, NUM_CLASSES, FOR_EACH_LAYER(_BACKWARD) */

typedef struct {
    float *in[NUM_LAYERS + 1], *in_gradient[NUM_LAYERS + 1];   /* padded maps; the last one holds the logits */
    float *full[NUM_LAYERS], *full_gradient[NUM_LAYERS];       /* maps before pooling */
    float *transposed;
    bits random;
} workspace;

/* The map that layer k's result (after pooling) goes to: the input of layer k + 1, or the logits. */
INLINE map result_map(float *const *maps, int k) {
    if (k + 1 == NUM_LAYERS) return (map){maps[k + 1], 0, out_lanes(&LAYERS[k])};
    const layer *next = &LAYERS[k + 1];
    return (map){maps[k + 1] + next->pad_h * row_floats(next) + next->pad_w * next->in_lanes, row_floats(next), next->in_lanes};
}

INLINE map full_map(float *const *maps, int k) {
    return (map){maps[k], (long)LAYERS[k].out_w * out_lanes(&LAYERS[k]), out_lanes(&LAYERS[k])};
}

static float *floats(long count) {
    float *p = aligned_alloc(64, (count * sizeof(float) + 127) / 64 * 64);
    if (p) memset(p, 0, (count * sizeof(float) + 127) / 64 * 64);
    return p;
}

static void close_workspace(workspace *s) {
    for (int k = 0; k <= NUM_LAYERS; k++) { free(s->in[k]); free(s->in_gradient[k]); }
    for (int k = 0; k < NUM_LAYERS; k++) { free(s->full[k]); free(s->full_gradient[k]); }
    free(s->transposed);
}

static int open_workspace(workspace *s, uint32_t seed) {
    memset(s, 0, sizeof *s);
    int failed = !(s->transposed = floats(NUM_TRANSPOSED));
    for (int k = 0; k <= NUM_LAYERS; k++) {
        const long size = k < NUM_LAYERS ? map_floats(&LAYERS[k]) : out_lanes(&LAYERS[NUM_LAYERS - 1]);
        failed |= !(s->in[k] = floats(size)) | !(s->in_gradient[k] = floats(size));
    }
    for (int k = 0; k < NUM_LAYERS; k++) {
        const long size = (long)LAYERS[k].out_h * LAYERS[k].out_w * out_lanes(&LAYERS[k]);
        failed |= !(s->full[k] = floats(size)) | !(s->full_gradient[k] = floats(size));
    }
    for (int lane = 0; lane < LANES; lane++) {      /* splitmix: distinct non-zero states for the lanes */
        uint32_t z = seed + 0x9e3779b9u * (lane + 1);
        z = (z ^ (z >> 16)) * 0x85ebca6bu;
        z = (z ^ (z >> 13)) * 0xc2b2ae35u;
        s->random[lane] = (z ^ (z >> 16)) | 1u;
    }
    return failed;
}

INLINE void put_image(workspace *s, const float *image) {
    const layer *l = &LAYERS[0];
    float *to = s->in[0] + l->pad_h * row_floats(l) + l->pad_w * l->in_lanes;
    for (int h = 0; h < l->in_h; h++)
        for (int w = 0; w < l->in_w; w++)
            for (int c = 0; c < l->in; c++) to[h * row_floats(l) + w * l->in_lanes + c] = image[((long)c * l->in_h + h) * l->in_w + w];
}

/* Dropout on a hidden layer's result: a kept value is divided by the share that is kept. */
INLINE void drop(workspace *s, const layer *l, map out, float keep) {
    const bits limit = (uint32_t)(keep * 4294967040.0f) - (bits){0};
    for (int h = 0; h < l->pooled_h; h++)
        for (int w = 0; w < l->pooled_w; w++)
            for (int block = 0; block < out_lanes(l); block += LANES) {
                bits r = s->random;
                r ^= r << 13; r ^= r >> 17; r ^= r << 5;
                s->random = r;
                float *p = out.data + h * out.row + w * out.pixel + block;
                /* a dropped value is told from a true zero by its sign: -0.0 */
                store(p, choose((mask)(r < limit), load(p) * (1 / keep) + 0.0f, splat(-0.0f)));
            }
}

INLINE void layer_forward(workspace *s, int k, const float *parameters, float keep) {
    const layer *l = &LAYERS[k];
    const map out = result_map(s->in, k);
    if (l->pool == NO_POOL) {
        convolve(l, parameters, s->in[k], out);
    } else {
        const map full = full_map(s->full, k);
        convolve(l, parameters, s->in[k], full);
        pool(l, full, out);
    }
    if (keep < 1 && k + 1 < NUM_LAYERS) drop(s, l, out, keep);
}

/* Turns the gradient to a layer's result into the one to its sums, adds to the weights' (where `gradients` is not NULL)
 * and passes it to the input. */
INLINE void layer_backward(workspace *s, int k, float *gradients, float keep) {
    const layer *l = &LAYERS[k];
    const map out = result_map(s->in, k), out_gradient = result_map(s->in_gradient, k);
    const int dropping = keep < 1 && k + 1 < NUM_LAYERS;
    if (dropping)
        for (int h = 0; h < l->pooled_h; h++)
            for (int w = 0; w < l->pooled_w; w++)
                for (int block = 0; block < out_lanes(l); block += LANES) {
                    float *g = out_gradient.data + h * out_gradient.row + w * out_gradient.pixel + block;
                    const vec y = load(out.data + h * out.row + w * out.pixel + block);
                    const mask dropped = (mask)((bits)y == 0x80000000u);
                    store(g, choose(dropped, (vec){0}, load(g) * (1 / keep)));
                }
    map value = out, gradient = out_gradient;
    float scale = dropping ? keep : 1;      /* undoes dropout's scaling where the derivative needs the value itself */
    if (l->pool != NO_POOL) {
        value = full_map(s->full, k);
        gradient = full_map(s->full_gradient, k);
        pool_gradient(l, value, out_gradient, gradient);
        scale = 1;
    }
    for (int h = 0; h < l->out_h; h++)
        for (int w = 0; w < l->out_w; w++)
            for (int block = 0; block < out_lanes(l); block += LANES) {
                float *g = gradient.data + h * gradient.row + w * gradient.pixel + block;
                store(g, load(g) * derivative(l, load(value.data + h * value.row + w * value.pixel + block) * scale));
            }
    if (gradients) weight_gradient(l, s->in[k], gradient, gradients);
    if (k > 0) input_gradient(l, s->transposed + TRANSPOSED_START[k], gradient, s->in_gradient[k]);
}

static void run_forward(workspace *s, const float *parameters, float keep) {
#define STEP(k) layer_forward(s, k, parameters, keep);
    FOR_EACH_LAYER(STEP)
#undef STEP
}

static void run_backward(workspace *s, float *gradients, float keep) {
#define STEP(k) layer_backward(s, k, gradients, keep);
    FOR_EACH_LAYER_BACKWARD(STEP)
#undef STEP
}

INLINE float sum_of_lanes(vec v) {
    float lanes[LANES];
    store(lanes, v);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int lane = 0; lane < width; lane++) lanes[lane] += lanes[lane + width];
    return lanes[0];
}

/* Gradient to the image after a backward pass, as torch has images. The first layer reads few channels, so that here the
 * lanes are those of its result, and are added up. */
static void image_gradient(workspace *s, const float *parameters, float *to) {
    const layer *l = &LAYERS[0];
    const map gradient = l->pool == NO_POOL ? result_map(s->in_gradient, 0) : full_map(s->full_gradient, 0);
    float *padded = s->in_gradient[0];
    memset(padded, 0, map_floats(l) * sizeof(float));
    for (int i = 0; i < l->kernel_h; i++)
        for (int j = 0; j < l->kernel_w; j++)
            for (int c = 0; c < l->in; c++) {
                const float *tap = parameters + l->weights + ((long)(i * l->kernel_w + j) * l->in + c) * out_lanes(l);
                for (int h = 0; h < l->out_h; h++)
                    for (int w = 0; w < l->out_w; w++) {
                        const float *g = gradient.data + h * gradient.row + w * gradient.pixel;
                        vec sum = (vec){0};
                        for (int block = 0; block < out_lanes(l); block += LANES) sum += load(g + block) * load(tap + block);
                        padded[(h * l->stride_h + i * l->dilation_h) * row_floats(l)
                               + (w * l->stride_w + j * l->dilation_w) * l->in_lanes + c] += sum_of_lanes(sum);
                    }
            }
    padded += l->pad_h * row_floats(l) + l->pad_w * l->in_lanes;
    for (int h = 0; h < l->in_h; h++)
        for (int w = 0; w < l->in_w; w++)
            for (int c = 0; c < l->in; c++)
                to[((long)c * l->in_h + h) * l->in_w + w] = padded[h * row_floats(l) + w * l->in_lanes + c];
}

/* Weights with input and output exchanged: [kernel position, out, in lanes]. */
static void transpose(const float *parameters, float *transposed) {
    for (int k = 1; k < NUM_LAYERS; k++) {
        const layer *l = &LAYERS[k];
        for (int t = 0; t < l->kernel_h * l->kernel_w; t++)
            for (int o = 0; o < l->out; o++)
                for (int c = 0; c < l->in; c++)
                    transposed[TRANSPOSED_START[k] + ((long)t * l->out + o) * l->in_lanes + c] =
                        parameters[l->weights + ((long)t * l->in + c) * out_lanes(l) + o];
    }
}

/* Cross-entropy of the logits; leaves its gradient, divided by the batch size, where the backward pass starts. */
static float loss(workspace *s, int label, float per_batch) {
    const float *logits = s->in[NUM_LAYERS];
    float *gradient = s->in_gradient[NUM_LAYERS];
    float largest = logits[0], sum = 0;
    for (int o = 1; o < NUM_CLASSES; o++) largest = logits[o] > largest ? logits[o] : largest;
    for (int o = 0; o < NUM_CLASSES; o++) sum += gradient[o] = expf(logits[o] - largest);
    for (int o = 0; o < NUM_CLASSES; o++) gradient[o] *= per_batch / sum;
    gradient[label] -= per_batch;
    return logf(sum) + largest - logits[label];
}

typedef struct {
    int32_t kind;
    float learning_rate, momentum, second, epsilon, weight_decay, pull;
    const float *anchor;        /* NULL, or the parameters that a pull of this strength goes towards */
} optimizer;

/* One step of torch.optim's SGD (momentum), Adam or RMSprop, weight decay and pull added to the gradient. */
static void update(float *parameters, float *gradients, float *first, float *second, const optimizer *o, int64_t step) {
    const float correct1 = 1 - powf(o->momentum, (float)step), correct2 = sqrtf(1 - powf(o->second, (float)step));
    for (long i = 0; i < NUM_PARAMETERS; i++) {
        float g = gradients[i] + o->weight_decay * parameters[i];
        if (o->anchor) g += o->pull * (parameters[i] - o->anchor[i]);
        gradients[i] = 0;
        if (o->kind == SGD) {
            first[i] = step == 1 ? g : o->momentum * first[i] + g;
            parameters[i] -= o->learning_rate * first[i];
        } else if (o->kind == ADAM) {
            first[i] = o->momentum * first[i] + (1 - o->momentum) * g;
            second[i] = o->second * second[i] + (1 - o->second) * g * g;
            parameters[i] -= o->learning_rate / correct1 * first[i] / (sqrtf(second[i]) / correct2 + o->epsilon);
        } else {
            second[i] = o->second * second[i] + (1 - o->second) * g * g;
            parameters[i] -= o->learning_rate * g / (sqrtf(second[i]) + o->epsilon);
        }
    }
}

/* Numbers below 1.2e-38 count as zero while a network is trained or run: weight decay takes the weights of a channel
 * that is silent on all images down to such numbers, with which processors calculate some twenty times slower.
 * Returns what the caller's thread had set, for it to be set again. */
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

/* Images by their number and labels in their order: a number beyond num_images it is one of `more`. */
typedef struct { const float *images; int64_t num_images; const float *more; const int32_t *order, *labels; } samples;

#define IMAGE_SIZE ((long)LAYERS[0].in * LAYERS[0].in_h * LAYERS[0].in_w)

INLINE const float *image_at(const samples *of, int32_t index) {
    return index < of->num_images ? of->images + index * IMAGE_SIZE : of->more + (index - of->num_images) * IMAGE_SIZE;
}

/* Add the gradient of the mean loss on the samples from `start` up to `end`; returns the sum of their losses. */
static double add_gradient(workspace *s, const float *parameters, float *gradients, float keep, const samples *of,
                           int64_t start, int64_t end) {
    double total = 0;
    transpose(parameters, s->transposed);
    for (int64_t n = start; n < end; n++) {
        put_image(s, image_at(of, of->order[n]));
        run_forward(s, parameters, keep);
        total += loss(s, of->labels[n], 1.0f / (end - start));
        run_backward(s, gradients, keep);
    }
    return total;
}

/* Train on the samples in their order, in batches of `batch_size` (the last may be smaller). Returns the mean loss, or
 * -1 without memory. first, second: the optimizer's memory; *step: how many steps were taken. */
float zoovet_train(float *parameters, float *first, float *second, int64_t *step, const optimizer *how, float keep,
                   uint32_t seed, const samples *of, int64_t count, int64_t batch_size) {
    workspace s;
    float *gradients = floats(NUM_PARAMETERS);
    double total = 0;
    if (open_workspace(&s, seed) || !gradients) { close_workspace(&s); free(gradients); return -1; }
    const uint64_t before = flush_denormals();
    for (int64_t start = 0; start < count; start += batch_size) {
        const int64_t end = start + batch_size < count ? start + batch_size : count;
        total += add_gradient(&s, parameters, gradients, keep, of, start, end);
        update(parameters, gradients, first, second, how, ++*step);
    }
    restore_denormals(before);
    close_workspace(&s);
    free(gradients);
    return (float)(total / count);
}

/* Add the gradient of the mean loss on all samples, nothing dropped out. Returns that loss, or -1 without memory. */
float zoovet_gradient(const float *parameters, float *gradients, const samples *of, int64_t count) {
    workspace s;
    if (open_workspace(&s, 1)) { close_workspace(&s); return -1; }
    const uint64_t before = flush_denormals();
    const double total = add_gradient(&s, parameters, gradients, 1, of, 0, count);
    restore_denormals(before);
    close_workspace(&s);
    return (float)(total / count);
}

/* Gradient of each image's loss to the image, and its logits. Returns 0, or -1 without memory. */
int zoovet_image_gradients(const float *parameters, const float *images, const int32_t *labels, int64_t count,
                           float *gradients, float *logits) {
    workspace s;
    if (open_workspace(&s, 1)) { close_workspace(&s); return -1; }
    const uint64_t before = flush_denormals();
    transpose(parameters, s.transposed);
    for (int64_t n = 0; n < count; n++) {
        put_image(&s, images + n * IMAGE_SIZE);
        run_forward(&s, parameters, 1);
        memcpy(logits + n * NUM_CLASSES, s.in[NUM_LAYERS], NUM_CLASSES * sizeof(float));
        loss(&s, labels[n], 1);
        run_backward(&s, NULL, 1);
        image_gradient(&s, parameters, gradients + n * IMAGE_SIZE);
    }
    restore_denormals(before);
    close_workspace(&s);
    return 0;
}

/* Logits [count, NUM_CLASSES] of the images. Returns 0, or -1 without memory. */
int zoovet_logits(const float *parameters, const float *images, int64_t count, float *logits) {
    workspace s;
    if (open_workspace(&s, 1)) { close_workspace(&s); return -1; }
    const uint64_t before = flush_denormals();
    for (int64_t n = 0; n < count; n++) {
        put_image(&s, images + n * IMAGE_SIZE);
        run_forward(&s, parameters, 1);
        memcpy(logits + n * NUM_CLASSES, s.in[NUM_LAYERS], NUM_CLASSES * sizeof(float));
    }
    restore_denormals(before);
    close_workspace(&s);
    return 0;
}
