/* Layers of a small network on one image: activations, convolutions, pools, forward and backward. For trainer.c, which says
 * how maps and parameters are laid out.
 *
 * A tile of output pixels shares each weight that is loaded; sums stay in registers. Channels are rounded up to BLOCK, whatever
 * a vector holds.
 */
#include "lanes.h"
#define LANES MOST_LANES
#include "vectors.h"

#define BLOCK 16          /* compiler.py's _BLOCK */
#ifdef __AVX512F__
#define TILE 14           /* pixels whose sums are held in registers at once */
#define MOST_SUMS 28      /* of weights' gradients */
#else
#define TILE 12
#define MOST_SUMS 12
#endif

enum { IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID };
enum { NO_POOL, GLOBAL_POOL, AVERAGE_POOL, MAX_POOL };

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

INLINE int out_lanes(const layer *l) { return (l->out + BLOCK - 1) / BLOCK * BLOCK; }
INLINE long num_weights(const layer *l) { return (long)l->kernel_h * l->kernel_w * l->in * out_lanes(l); }
INLINE int padded_w(const layer *l) { return l->in_w + 2 * l->pad_w; }
INLINE int padded_h(const layer *l) { return l->in_h + 2 * l->pad_h; }
INLINE long map_floats(const layer *l) { return (long)padded_h(l) * padded_w(l) * l->in_lanes; }
INLINE long row_floats(const layer *l) { return (long)padded_w(l) * l->in_lanes; }

INLINE vec activate(const layer *l, vec z) {
    switch (l->activation) {
    case RELU: return choose(z > 0, z, (vec){0});
    case LEAKY_RELU: return choose(z > 0, z, z * l->slope);
    case TANH: return tanh_vec(z);
    case SIGMOID: return sigmoid_vec(z);
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

/* Gradient to the input by one kernel position, whose weights are `tap`: a tile of output pixels adds to the input pixels that
 * it has under it, from x on. */
INLINE void input_gradient_tile(const layer *l, const float *tap, map gradient, const float *g, float *x, int rows, int columns) {
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

/* Cover a map with tiles whose sizes are constants: full ones, and what remains at the right and below. */
#define TILE_COLUMNS(width) ((width) < TILE ? (width) : TILE)
#define TILE_ROWS(height, width) (TILE / TILE_COLUMNS(width) < (height) ? TILE / TILE_COLUMNS(width) : (height))
#define BAND(CALL, width, h, rows)                                                      \
    do {                                                                                \
        int w = 0;                                                                      \
        for (; w + TILE_COLUMNS(width) <= (width); w += TILE_COLUMNS(width)) CALL(h, w, rows, TILE_COLUMNS(width)); \
        if ((width) % TILE_COLUMNS(width)) CALL(h, w, rows, (width) % TILE_COLUMNS(width)); \
    } while (0)
#define COVER(CALL, height, width)                                                      \
    do {                                                                                \
        int h = 0;                                                                      \
        for (; h + TILE_ROWS(height, width) <= (height); h += TILE_ROWS(height, width)) \
            BAND(CALL, width, h, TILE_ROWS(height, width));                             \
        if ((height) % TILE_ROWS(height, width)) BAND(CALL, width, h, (height) % TILE_ROWS(height, width)); \
    } while (0)

INLINE void convolve(const layer *l, const float *parameters, const float *in, map out) {
    for (int block = 0; block < out_lanes(l) / LANES; block++) {
#define CALL(h, w, rows, columns) forward_tile(l, parameters, in, out, block, h, w, rows, columns)
        COVER(CALL, l->out_h, l->out_w);
#undef CALL
    }
}

/* Of `count` output pixels along an axis, how many lie before the first whose place under a kernel position, a step `at` from
 * the padded map's edge on, is `edge` or beyond. */
INLINE int num_before(int edge, int at, int stride, int count) {
    const int num = edge > at ? (edge - at + stride - 1) / stride : 0;
    return num < count ? num : count;
}

/* By one kernel position, for the output pixels [height, width] from (top, left) on. */
INLINE void input_gradient_position(const layer *l, const float *transposed, map gradient, float *in_gradient, int i, int j,
                                    int top, int left, int height, int width) {
    const float *tap = transposed + (long)(i * l->kernel_w + j) * l->out * l->in_lanes;
    const float *g = gradient.data + top * gradient.row + left * gradient.pixel;
    float *x = in_gradient + (top * l->stride_h + i * l->dilation_h) * row_floats(l)
               + (left * l->stride_w + j * l->dilation_w) * l->in_lanes;
    if (height <= 0 || width <= 0) return;
#define CALL(h, w, rows, columns)                                                                              \
    input_gradient_tile(l, tap, gradient, g + (h) * gradient.row + (w) * gradient.pixel,                       \
                        x + (h) * l->stride_h * row_floats(l) + (w) * l->stride_w * l->in_lanes, rows, columns)
    COVER(CALL, height, width);
#undef CALL
}

/* Position by position of the kernel; what falls on the padding is left out, for which each has loops of its own. */
INLINE void input_gradient(const layer *l, const float *transposed, map gradient, float *in_gradient) {
    memset(in_gradient, 0, map_floats(l) * sizeof(float));
    for (int block = 0; block < l->in_lanes; block += LANES, transposed += LANES, in_gradient += LANES) {
        if (!l->pad_h && !l->pad_w) {
            for (int i = 0; i < l->kernel_h; i++)
                for (int j = 0; j < l->kernel_w; j++)
                    input_gradient_position(l, transposed, gradient, in_gradient, i, j, 0, 0, l->out_h, l->out_w);
            continue;
        }
        UNROLL for (int i = 0; i < l->kernel_h; i++)
            UNROLL for (int j = 0; j < l->kernel_w; j++) {
                const int top = num_before(l->pad_h, i * l->dilation_h, l->stride_h, l->out_h);
                const int left = num_before(l->pad_w, j * l->dilation_w, l->stride_w, l->out_w);
                const int below = num_before(l->pad_h + l->in_h, i * l->dilation_h, l->stride_h, l->out_h);
                const int right = num_before(l->pad_w + l->in_w, j * l->dilation_w, l->stride_w, l->out_w);
                input_gradient_position(l, transposed, gradient, in_gradient, i, j, top, left, below - top, right - left);
            }
    }
}

/* Gradient to the weights that one output block reads at `rows` kernel positions of each row: `count` numbers that lie one after
 * another in the input, from x on in the first row; all of them are summed in registers over the map. */
INLINE void weight_gradient_block(const layer *l, const float *x, map gradient, float *into, int rows, int count) {
    vec sum[32];
    const long row = l->dilation_h * row_floats(l), row_weights = (long)l->kernel_w * l->in * out_lanes(l);
    UNROLL for (int t = 0; t < rows * count; t++) sum[t] = load(into + t / count * row_weights + (long)(t % count) * out_lanes(l));
    for (int h = 0; h < l->out_h; h++)
        for (int w = 0; w < l->out_w; w++) {
            const vec g = load(gradient.data + h * gradient.row + w * gradient.pixel);
            const float *at = x + h * l->stride_h * row_floats(l) + w * l->stride_w * l->in_lanes;
            UNROLL for (int t = 0; t < rows * count; t++) sum[t] += at[t / count * row + t % count] * g;
        }
    UNROLL for (int t = 0; t < rows * count; t++) store(into + t / count * row_weights + (long)(t % count) * out_lanes(l), sum[t]);
}

/* The same for `length` numbers of a kernel's row, as many at a time as there are registers for. */
INLINE void weight_gradient_run(const layer *l, const float *x, map gradient, float *into, int length) {
    const int parts = (length + MOST_SUMS - 1) / MOST_SUMS, size = (length + parts - 1) / parts;
    int t = 0;
    for (; t + size <= length; t += size) weight_gradient_block(l, x + t, gradient, into + (long)t * out_lanes(l), 1, size);
    if (length % size) weight_gradient_block(l, x + t, gradient, into + (long)t * out_lanes(l), 1, length % size);
}

INLINE void weight_gradient(const layer *l, const float *in, map gradient, float *gradients) {
    const int is_run = l->in == l->in_lanes && l->dilation_w == 1;     /* a row of the kernel reads numbers one after another */
    for (int block = 0; block < out_lanes(l); block += LANES) {
        const map own = {gradient.data + block, gradient.row, gradient.pixel};
        float *into = gradients + l->weights + block;
        if (is_run && l->kernel_h * l->kernel_w * l->in <= MOST_SUMS) {
            weight_gradient_block(l, in, own, into, l->kernel_h, l->kernel_w * l->in);
        } else {
            for (int i = 0; i < l->kernel_h; i++)
                for (int j = 0; j < (is_run ? 1 : l->kernel_w); j++)
                    weight_gradient_run(l, in + i * l->dilation_h * row_floats(l) + j * l->dilation_w * l->in_lanes, own,
                                        into + (long)(i * l->kernel_w + j) * l->in * out_lanes(l),
                                        is_run ? l->kernel_w * l->in : l->in);
        }
        into += num_weights(l);
        vec sum[4] = {load(into)};      /* an addition waits for the one before to the same sum */
        for (int h = 0; h < l->out_h; h++) {
            int w = 0;
            for (; w + 4 <= l->out_w; w += 4)
                UNROLL for (int k = 0; k < 4; k++) sum[k] += load(own.data + h * own.row + (w + k) * own.pixel);
            for (; w < l->out_w; w++) sum[0] += load(own.data + h * own.row + w * own.pixel);
        }
        store(into, (sum[0] + sum[1]) + (sum[2] + sum[3]));
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
