/* Convolutions of one image: dense, grouped and depthwise, forward and backward. For graph_trainer.c.
 *
 * A map is [height, width, channels] with its channels rounded up to whole vectors; what reads beyond its edge finds zeros
 * that lie around it. A pointer to a map is one to its first real pixel; `row` and `pixel` are steps in floats. All sizes are
 * constants where these functions are called, so that every loop is compiled for them.
 */
#include "vectors.h"

#ifdef __AVX512VL__
#define TILE 24       /* sums that are held in registers at once */
#else
#define TILE 12
#endif
#define FEW_WEIGHTS 2048

/* reads: channels that each output reads; out: channels of the result, padded; groups: 0 for a depthwise one. */
typedef struct { int reads, out, groups, kernel_h, kernel_w; } kernel;
/* Where taps and pixels lie: from tap to tap, and from one pixel of the result to the next, in the map that is read. */
typedef struct { long tap_h, tap_w, row, pixel; } steps;
typedef struct { long row, pixel; } map;

/* Sums of a tile of pixels for one vector of output channels; `weight_h` and `weight_w`: from tap to tap. */
INLINE void tile(kernel k, steps s, map to, const float *x, const float *weights, long weight_h, long weight_w,
                 const float *bias, float *y, int adds, int rows, int columns) {
    vec sum[TILE];
    UNROLL for (int p = 0; p < rows * columns; p++)
        sum[p] = adds ? load(y + p / columns * to.row + p % columns * to.pixel) : bias ? load(bias) : (vec){0};
    for (int i = 0; i < k.kernel_h; i++)
        for (int j = 0; j < k.kernel_w; j++) {
            const float *at = x + i * s.tap_h + j * s.tap_w, *w = weights + i * weight_h + j * weight_w;
            if (k.groups == 0) {
                const vec v = load(w);
                UNROLL for (int p = 0; p < rows * columns; p++)
                    sum[p] += load(at + p / columns * s.row + p % columns * s.pixel) * v;
            } else {
                for (int c = 0; c < k.reads; c++) {
                    const vec v = load(w + (long)c * k.out);
                    UNROLL for (int p = 0; p < rows * columns; p++)
                        sum[p] += at[p / columns * s.row + p % columns * s.pixel + c] * v;
                }
            }
        }
    UNROLL for (int p = 0; p < rows * columns; p++) store(y + p / columns * to.row + p % columns * to.pixel, sum[p]);
}

INLINE void band(kernel k, steps s, map to, const float *x, const float *weights, long weight_h, long weight_w,
                 const float *bias, float *y, int adds, int width, int columns, int rows) {
    int w = 0;
    for (; w + columns <= width; w += columns)
        tile(k, s, to, x + w * s.pixel, weights, weight_h, weight_w, bias, y + w * to.pixel, adds, rows, columns);
    if (width % columns)
        tile(k, s, to, x + w * s.pixel, weights, weight_h, weight_w, bias, y + w * to.pixel, adds, rows, width % columns);
}

/* A band of rows of a result for one vector of output channels, the `block`-th on. */
INLINE void block_band(kernel k, steps s, map to, int width, const float *x, const float *weights, long weight_h, long weight_w,
                       const float *bias, float *y, int adds, int columns, int block, int rows) {
    const float *from = k.groups == 0 ? x + block : x + (k.groups == 1 ? 0 : block / (k.out / k.groups) * k.reads);
    band(k, s, to, from, weights + block, weight_h, weight_w, bias ? bias + block : 0, y + block, adds, width, columns, rows);
}

/* All pixels [height, width] of a result, tile by tile; weights are [taps, reads, out]. Few weights stay in the nearest cache
 * while a band of rows is made for all channels, which then reads its inputs once; many of them are read once for a vector of
 * channels. */
INLINE void convolve(kernel k, steps s, map to, int height, int width, const float *x, const float *weights, long weight_h,
                     long weight_w, const float *bias, float *y, int adds) {
    const int across = (width + TILE - 1) / TILE, columns = (width + across - 1) / across;
    const int rows = TILE / columns < height ? TILE / columns : height, whole = height / rows * rows;
    const int by_bands = k.kernel_h * k.kernel_w * k.reads * k.out <= FEW_WEIGHTS;
#define CALL(h, rows) \
    block_band(k, s, to, width, x + (h) * s.row, weights, weight_h, weight_w, bias, y + (h) * to.row, adds, columns, block, rows)
    if (by_bands) {
        for (int h = 0; h < whole; h += rows) for (int block = 0; block < k.out; block += LANES) CALL(h, rows);
        if (height % rows) for (int block = 0; block < k.out; block += LANES) CALL(whole, height % rows);
    } else {
        for (int block = 0; block < k.out; block += LANES) {
            for (int h = 0; h < whole; h += rows) CALL(h, rows);
            if (height % rows) CALL(whole, height % rows);
        }
    }
#undef CALL
}

/* Gradient to `count` of the weights that a vector of outputs reads, whose inputs lie one after another from x on. */
INLINE void weight_block(kernel k, steps s, map from, int height, int width, const float *x, const float *dy, float *into,
                         int count) {
    vec sum[TILE];
    UNROLL for (int t = 0; t < count; t++) sum[t] = load(into + (long)t * k.out);
    for (int h = 0; h < height; h++)
        for (int w = 0; w < width; w++) {
            const vec g = load(dy + h * from.row + w * from.pixel);
            const float *at = x + h * s.row + w * s.pixel;
            UNROLL for (int t = 0; t < count; t++) sum[t] += at[t] * g;
        }
    UNROLL for (int t = 0; t < count; t++) store(into + (long)t * k.out, sum[t]);
}

INLINE void weight_run(kernel k, steps s, map from, int height, int width, const float *x, const float *dy, float *into,
                       int length) {
    const int parts = (length + TILE - 1) / TILE, size = (length + parts - 1) / parts;
    int t = 0;
    for (; t + size <= length; t += size)
        weight_block(k, s, from, height, width, x + t, dy, into + (long)t * k.out, size);
    if (length % size) weight_block(k, s, from, height, width, x + t, dy, into + (long)t * k.out, length % size);
}

/* Gradient to the weights of some rows of a depthwise kernel for a vector of channels; their sums stay in registers. */
INLINE void depthwise_rows(kernel k, steps s, map from, int height, int width, const float *x, const float *dy, float *into,
                           int rows) {
    vec sum[TILE];
    UNROLL for (int t = 0; t < rows * k.kernel_w; t++) sum[t] = load(into + t * (long)k.out);
    for (int h = 0; h < height; h++)
        for (int w = 0; w < width; w++) {
            const vec g = load(dy + h * from.row + w * from.pixel);
            const float *at = x + h * s.row + w * s.pixel;
            UNROLL for (int t = 0; t < rows * k.kernel_w; t++)
                sum[t] += load(at + t / k.kernel_w * s.tap_h + t % k.kernel_w * s.tap_w) * g;
        }
    UNROLL for (int t = 0; t < rows * k.kernel_w; t++) store(into + t * (long)k.out, sum[t]);
}

/* As many rows of the kernel at once as there are registers for: an addition waits for the one before to the same sum. */
INLINE void depthwise_weights(kernel k, steps s, map from, int height, int width, const float *x, const float *dy, float *into) {
    const int most = TILE / k.kernel_w < k.kernel_h ? TILE / k.kernel_w : k.kernel_h;
    int i = 0;
    for (; i + most <= k.kernel_h; i += most)
        depthwise_rows(k, s, from, height, width, x + i * s.tap_h, dy, into + i * k.kernel_w * (long)k.out, most);
    if (k.kernel_h % most)
        depthwise_rows(k, s, from, height, width, x + i * s.tap_h, dy, into + i * k.kernel_w * (long)k.out, k.kernel_h % most);
}

/* Add this image's gradient to weights [taps, reads, out]; and to the bias, where there is one. */
INLINE void add_weight_gradient(kernel k, steps s, map from, int height, int width, const float *x, const float *dy,
                                float *into, float *into_bias) {
    const int is_run = k.groups == 1 && s.tap_w == k.reads;   /* a row of taps reads numbers one after another */
    for (int block = 0; block < k.out; block += LANES) {
        if (k.groups == 0) {
            depthwise_weights(k, s, from, height, width, x + block, dy + block, into + block);
        } else {
            const float *at = x + (k.groups == 1 ? 0 : block / (k.out / k.groups) * k.reads);
            for (int i = 0; i < k.kernel_h; i++)
                if (is_run) {
                    weight_run(k, s, from, height, width, at + i * s.tap_h, dy + block,
                               into + block + (long)i * k.kernel_w * k.reads * k.out, k.kernel_w * k.reads);
                } else {
                    for (int j = 0; j < k.kernel_w; j++)
                        weight_run(k, s, from, height, width, at + i * s.tap_h + j * s.tap_w, dy + block,
                                   into + block + (long)(i * k.kernel_w + j) * k.reads * k.out, k.reads);
                }
        }
        if (into_bias) {
            vec sum = load(into_bias + block);
            for (int h = 0; h < height; h++)
                for (int w = 0; w < width; w++) sum += load(dy + block + h * from.row + w * from.pixel);
            store(into_bias + block, sum);
        }
    }
}

/* ---- weights as torch has them, [out, in of a group, height, width], and as the loops above read them ---------------- */

/* groups: the convolution's; merged: its groups are one, with zeros between channels of different ones. */
typedef struct { int in, out, in_lanes, out_lanes, groups, merged, taps; } layout;

INLINE long forward_place(layout l, int o, int c, int t) {
    const int reads = l.in / l.groups;
    if (l.groups > 1 && !l.merged && reads == 1) return (long)t * l.out_lanes + o;
    if (l.merged) return ((long)t * l.in + o / (l.out / l.groups) * reads + c) * l.out_lanes + o;
    return ((long)t * reads + c) * l.out_lanes + o;
}

INLINE long backward_place(layout l, int o, int c, int t) {
    const int reads = l.in / l.groups, makes = l.out / l.groups, group = o / makes;
    if (l.groups > 1 && !l.merged && reads == 1) return (long)t * l.out_lanes + o;
    if (l.merged) return ((long)t * l.out + o) * l.in_lanes + group * reads + c;
    return ((long)t * makes + o % makes) * l.in_lanes + group * reads + c;
}

INLINE void pack_weights(layout l, const float *flat, float *forward, float *backward) {
    for (int o = 0; o < l.out; o++)
        for (int c = 0; c < l.in / l.groups; c++)
            for (int t = 0; t < l.taps; t++) {
                const float weight = *flat++;
                forward[forward_place(l, o, c, t)] = weight;
                backward[backward_place(l, o, c, t)] = weight;
            }
}

INLINE void unpack_gradient(layout l, const float *gradient, float *flat) {
    for (int o = 0; o < l.out; o++)
        for (int c = 0; c < l.in / l.groups; c++)
            for (int t = 0; t < l.taps; t++) *flat++ += gradient[forward_place(l, o, c, t)];
}
