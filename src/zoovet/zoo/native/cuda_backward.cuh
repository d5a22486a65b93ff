// From logits to the gradients of weights, taking the places of the values from the last layer to the first.
#pragma once

#include "cuda_forward.cuh"

// The gradient to what a layer's sums or pools are made of, in place of the layer's result.
template <int K> DEVICE float passed_back(float gradient, float result, const Dropout &dropout) {
    const bool dropping = !last(K) && dropout.keep < 1;
    if (dropping) gradient = __float_as_uint(result) == 0x80000000u ? 0 : gradient * dropout.scale;
    if (LAYERS[K].pool != NO_POOL) return gradient;
    return gradient * derivative<K>(dropping ? result * dropout.keep : result);
}

// From the gradient to a pool's results to the one to the sums before it, in place of these.
template <int K> DEVICE void unpool(float *maps, int count) {
    constexpr Layer l = LAYERS[K];
    FOR_EACH_NUMBER(l.out, l.out_h, l.out_w) {
        const float *results = image + result_start(K) + c * result_plane(K);
        float gradient = 0;
        if (l.pool == GLOBAL_POOL) gradient = *results;
        else
            for (int i = 0; i < l.pool_h; i++)
                for (int j = 0; j < l.pool_w; j++) {
                    const int y = h + l.pool_pad_h - i,
                              x = w + l.pool_pad_w - j; // the window's corner, times the stride
                    if (y < 0 || x < 0 || y % l.pool_stride_h || x % l.pool_stride_w) continue;
                    const int row = y / l.pool_stride_h, column = x / l.pool_stride_w;
                    if (row >= l.pooled_h || column >= l.pooled_w) continue;
                    const int place = __float_as_int(image[l.places + (c * l.pooled_h + row) * l.pooled_w + column]);
                    if (l.pool != MAX_POOL || place == h * l.out_w + w)
                        gradient += results[row * result_row(K) + column];
                }
        if (l.pool != MAX_POOL) gradient *= 1.0f / (l.pool_h * l.pool_w);
        float *sum = image + l.sums + (c * l.out_h + h) * l.out_w + w;
        *sum = gradient * derivative<K>(*sum);
    }
}

// Sums COUNT numbers each over SPLITS neighbouring lanes. While it is even, their number is halved: each lane of a
// pair keeps one half. Then they begin at *first of the lane's own, and *whole says whether the lane is to write them.
template <int COUNT, int SPLITS, int TOTAL> DEVICE void sum_over_lanes(float (&value)[TOTAL], int *first, bool *whole) {
    if constexpr (SPLITS > 1) {
        constexpr int DISTANCE = SPLITS / 2;
        const bool upper = LANE & DISTANCE;
        if constexpr (COUNT % 2 == 0) {
            UNROLL
            for (int i = 0; i < COUNT / 2; i++) {
                const float given = SHUFFLE(upper ? value[i] : value[i + COUNT / 2], DISTANCE);
                value[i] = (upper ? value[i + COUNT / 2] : value[i]) + given;
            }
            *first += upper ? COUNT / 2 : 0;
            sum_over_lanes<COUNT / 2, DISTANCE, TOTAL>(value, first, whole);
        } else {
            UNROLL
            for (int i = 0; i < COUNT; i++) value[i] += SHUFFLE(value[i], DISTANCE);
            *whole = *whole && !upper;
            sum_over_lanes<COUNT, DISTANCE, TOTAL>(value, first, whole);
        }
    }
}

// How many of COUNT numbers are left on a lane then.
CONSTANT int left_on_lane(int count, int splits) {
    return splits > 1 ? left_on_lane(count % 2 ? count : count / 2, splits / 2) : count;
}
CONSTANT int splits_for(int tiles, int splits) {
    return splits > 1 && tiles * splits > THREADS ? splits_for(tiles, splits / 2) : splits;
}

// A thread holds the gradients to the taps of gradient_out channels by one input channel (all taps, or a row of them
// where a kernel is large), summed over its share of the rows of all images; and those to their biases, which only the
// threads of the first input channel write.
template <int K> DEVICE void weight_gradient(const float *maps, int count, float *gradients) {
    constexpr Layer l = LAYERS[K];
    constexpr int OUT = l.gradient_out, TAPS = taps(l) <= 12 ? taps(l) : l.kernel_w, PARTS = taps(l) / TAPS,
                  EACH = TAPS + 1;
    constexpr int TILES = padded(l.out) / OUT * l.in * PARTS, SPLITS = splits_for(TILES, WARP_LANES);
    for (int begin = 0; begin < TILES; begin += THREADS / SPLITS) {
        const int tile = begin + THREAD / SPLITS, c = tile % l.in, part = tile / l.in % PARTS,
                  first = tile / l.in / PARTS * OUT;
        float sum[OUT * EACH] = {};
        if (tile < TILES) {
            for (int unit = THREAD % SPLITS; unit < count * l.out_h; unit += SPLITS) {
                const float *image = maps + unit / l.out_h * IMAGE_FLOATS;
                const int h = unit % l.out_h;
                const float *g = image + sums_start(K) + first * sums_plane(K) + h * sums_row(K);
                const float *x = image + l.input + c * l.map_h * l.row +
                                 (h * l.stride_h + part * TAPS / l.kernel_w * l.dilation_h) * l.row;
#pragma unroll(l.out_w <= 16 ? l.out_w : 4)
                for (int w = 0; w < l.out_w; w++) {
                    float gradient[OUT];
                    UNROLL
                    for (int o = 0; o < OUT; o++) {
                        gradient[o] = padded(l.out) == l.out || first + o < l.out ? g[o * sums_plane(K) + w] : 0;
                        sum[o * EACH + TAPS] += gradient[o];
                    }
                    UNROLL
                    for (int t = 0; t < TAPS; t++) {
                        const float value =
                            x[t / l.kernel_w * l.dilation_h * l.row + t % l.kernel_w * l.dilation_w + w * l.stride_w];
                        UNROLL
                        for (int o = 0; o < OUT; o++) sum[o * EACH + t] += value * gradient[o];
                    }
                }
            }
        }
        int start = 0;
        bool whole = tile < TILES;
        sum_over_lanes<OUT * EACH, SPLITS, OUT * EACH>(sum, &start, &whole);
        UNROLL
        for (int i = 0; i < left_on_lane(OUT * EACH, SPLITS); i++) {
            const int o = first + (start + i) / EACH, t = (start + i) % EACH;
            if (!whole || o >= l.out) continue;
            if (t < TAPS) gradients[l.flat + (o * l.in + c) * taps(l) + part * TAPS + t] += sum[i];
            else if (c == 0 && part == 0) gradients[flat_biases(l) + o] += sum[i];
        }
    }
}

// Rows or columns of gradients that the pixels of one stride get something from: those from lowest to highest, counted
// from the stride's number. Tap i of the pixel at `offset` within the stride reaches exactly one or none.
struct Reach {
    int lowest, highest;
};
CONSTANT int reached(int offset, int pad, int i, int dilation) { return offset + pad - i * dilation; }
CONSTANT Reach reach(int stride, int pad, int kernel, int dilation) {
    Reach r = {1 << 30, -(1 << 30)};
    for (int offset = 0; offset < stride; offset++)
        for (int i = 0; i < kernel; i++) {
            const int place = reached(offset, pad, i, dilation);
            if (place % stride) continue;
            if (place / stride < r.lowest) r.lowest = place / stride;
            if (place / stride > r.highest) r.highest = place / stride;
        }
    return r;
}

// A thread holds the gradients to input_channels channels of the pixels under one stride in input_images images, and
// writes them in place of the layer's input.
template <int K> DEVICE void input_gradient(const float *weights, float *maps, int count, const Dropout &dropout) {
    constexpr Layer l = LAYERS[K];
    constexpr int SOME = l.input_channels, MANY = l.input_images, HIGH = l.stride_h, WIDE = l.stride_w;
    constexpr Reach rows = reach(HIGH, l.pad_h, l.kernel_h, l.dilation_h),
                    columns = reach(WIDE, l.pad_w, l.kernel_w, l.dilation_w);
    constexpr int ROWS = rows.highest - rows.lowest + 1, COLUMNS = columns.highest - columns.lowest + 1;
    constexpr int BLOCK_ROWS = (l.in_h + HIGH - 1) / HIGH, BLOCK_COLUMNS = (l.in_w + WIDE - 1) / WIDE,
                  BLOCKS = BLOCK_ROWS * BLOCK_COLUMNS;
    const int groups = (count + MANY - 1) / MANY;
    for (int task = THREAD; task < l.in / SOME * groups * BLOCKS; task += THREADS) {
        const int block = task % BLOCKS, number = task / BLOCKS % groups * MANY, first = task / BLOCKS / groups * SOME;
        const int h = block / BLOCK_COLUMNS, w = block % BLOCK_COLUMNS;
        float *images = maps + number * IMAGE_FLOATS;
        const float *g = images + sums_start(K) + (h + rows.lowest) * sums_row(K) + w + columns.lowest;
        float sum[MANY][HIGH][WIDE][SOME] = {};
#pragma unroll 1
        for (int o = 0; o < l.out; o += 4) {
            float gradient[MANY][4][ROWS][COLUMNS];
            UNROLL
            for (int p = 0; p < 4; p++) UNROLL
            for (int y = 0; y < ROWS; y++) UNROLL
            for (int x = 0; x < COLUMNS; x++) {
                const int row = h + rows.lowest + y, column = w + columns.lowest + x;
                const bool there =
                    row >= 0 && row < l.out_h && column >= 0 && column < l.out_w && (l.out % 4 == 0 || o + p < l.out);
                UNROLL
                for (int m = 0; m < MANY; m++)
                    gradient[m][p][y][x] =
                        there ? g[m * IMAGE_FLOATS + (o + p) * sums_plane(K) + y * sums_row(K) + x] : 0;
            }
            UNROLL
            for (int c = 0; c < SOME; c++) UNROLL
            for (int t = 0; t < taps(l); t++) {
                const float4 k =
                    *(const float4 *)(weights + l.weights + ((first + c) * taps(l) + t) * padded(l.out) + o);
                UNROLL
                for (int a = 0; a < HIGH; a++) UNROLL
                for (int b = 0; b < WIDE; b++) {
                    const int row = reached(a, l.pad_h, t / l.kernel_w, l.dilation_h),
                              column = reached(b, l.pad_w, t % l.kernel_w, l.dilation_w);
                    if (row % HIGH || column % WIDE) continue;
                    const int y = row / HIGH - rows.lowest, x = column / WIDE - columns.lowest;
                    UNROLL
                    for (int m = 0; m < MANY; m++) {
                        sum[m][a][b][c] += k.x * gradient[m][0][y][x];
                        sum[m][a][b][c] += k.y * gradient[m][1][y][x];
                        sum[m][a][b][c] += k.z * gradient[m][2][y][x];
                        sum[m][a][b][c] += k.w * gradient[m][3][y][x];
                    }
                }
            }
        }
        UNROLL
        for (int m = 0; m < MANY; m++) UNROLL
        for (int a = 0; a < HIGH; a++) UNROLL
        for (int b = 0; b < WIDE; b++) UNROLL
        for (int c = 0; c < SOME; c++) {
            const int y = h * HIGH + a, x = w * WIDE + b;
            if (y >= l.in_h || x >= l.in_w) continue;
            float *value =
                images + m * IMAGE_FLOATS + l.input + ((first + c) * l.map_h + y + l.pad_h) * l.row + x + l.pad_w;
            *value = passed_back<K - 1>(sum[m][a][b][c], *value, dropout);
        }
    }
}

template <int K>
DEVICE void run_backward(const float *weights, float *maps, int count, const Dropout &dropout, float *gradients) {
    if constexpr (LAYERS[K].pool != NO_POOL) {
        unpool<K>(maps, count);
        SYNC;
    }
    weight_gradient<K>(maps, count, gradients);
    if constexpr (K > 0) {
        SYNC;
        input_gradient<K>(weights, maps, count, dropout);
        SYNC;
        run_backward<K - 1>(weights, maps, count, dropout, gradients);
    }
}

// Cross-entropy's gradient in place of the logits, divided by the batch's size; a thread takes an image.
DEVICE void loss_gradient(float *maps, int count, const int *labels, float per_batch, const Dropout &dropout) {
    for (int image = THREAD; image < count; image += THREADS) {
        float *logits = maps + image * IMAGE_FLOATS + LOGITS, gradient[NUM_CLASSES], largest = logits[0], sum = 0;
        for (int o = 1; o < NUM_CLASSES; o++) largest = logits[o] > largest ? logits[o] : largest;
        UNROLL
        for (int o = 0; o < NUM_CLASSES; o++) sum += gradient[o] = expf(logits[o] - largest);
        UNROLL
        for (int o = 0; o < NUM_CLASSES; o++) {
            const float to_logit = gradient[o] * per_batch / sum - (o == labels[image] ? per_batch : 0);
            logits[o] = passed_back<NUM_LAYERS - 1>(to_logit, logits[o], dropout);
        }
    }
}
