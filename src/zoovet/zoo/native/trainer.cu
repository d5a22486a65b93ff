// Training and running many small networks on a GPU: a block of threads takes one network through its whole training.
//
// Compiled once per network spec: the generated constants describe the layers (see cuda_trainer.py), and every loop
// over taps, channels of a tile and pixels of a row is unrolled for them. A network's weights and the maps of IMAGES
// images stay in the multiprocessor's shared memory from the first step to the last; gradients and the optimizer's
// memory are touched once a step and lie in global memory. Blocks never wait for one another.
//
// Every layer is a convolution: a linear layer is one on a 1 x 1 map, or with a kernel as large as the map. Gradients
// take the place of the values that they belong to, from the last layer to the first.
//
// Layouts (float32)
//   weights   for each layer [in, taps, out rounded up to 4], biases [out rounded up to 4], in shared memory
//   maps      for each image, for each layer: its input [in, map_h, row], padded for the layer that reads it; the sums
//             of a layer that pools [out, out_h, out_w]; the places of a maximum pool's maxima, as integers; the logits
//   flat      a network as zoovet has it: for each layer weight [out, in, taps], bias [out]
//
// Nothing here is CUDA's own but its qualifiers, its indices, barriers and shuffles, so that tests can run the same
// source where there is no GPU.

#define THREAD int(threadIdx.x)
#define WARP_LANES (THREADS < 32 ? THREADS : 32)
#define LANE (THREAD % WARP_LANES)
#define WARP (THREAD / WARP_LANES)
#define WARPS (THREADS / WARP_LANES)
#define SYNC __syncthreads()
#define SHUFFLE(value, distance) __shfl_xor_sync(0xffffffffu, value, distance)
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 1)
#define DEVICE __device__ __forceinline__
#define CONSTANT constexpr __host__ __device__
#define UNROLL _Pragma("unroll")
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

enum { IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID };
enum { NO_POOL, GLOBAL_POOL, AVERAGE_POOL, MAX_POOL };

struct Layer {
    int in, out, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int in_h, in_w, out_h, out_w; // maps before and after the convolution
    int activation;
    float slope;
    int pool, pool_h, pool_w, pool_stride_h, pool_stride_w, pool_pad_h, pool_pad_w, pooled_h, pooled_w;
    int map_h, row, input;        // the input map with its padding, and where it starts among an image's floats
    int sums, places;             // where the sums of a layer that pools start, and the places of the maxima
    int weights, flat;            // where the parameters start, in shared memory and in a flat vector
    int forward_out, forward_images, input_channels, input_images, gradient_out; // tiles that one thread holds in registers
};

#include CONSTANTS_FILE // THREADS, IMAGES, IMAGE_FLOATS, NUM_LAYERS, NUM_WEIGHTS, NUM_PARAMETERS, NUM_CLASSES, LOGITS, LAYERS

CONSTANT int padded(int channels) { return (channels + 3) / 4 * 4; }
CONSTANT int taps(const Layer &l) { return l.kernel_h * l.kernel_w; }
CONSTANT int biases(const Layer &l) { return l.weights + l.in * taps(l) * padded(l.out); }
CONSTANT int flat_biases(const Layer &l) { return l.flat + l.in * taps(l) * l.out; }

// Where a layer's result (after pooling) is: in the next layer's input map, or where the logits are.
CONSTANT bool last(int k) { return k + 1 == NUM_LAYERS; }
CONSTANT int result_row(int k) { return last(k) ? LAYERS[k].pooled_w : LAYERS[k + !last(k)].row; }
CONSTANT int result_plane(int k) {
    return last(k) ? LAYERS[k].pooled_h * LAYERS[k].pooled_w : LAYERS[k + !last(k)].map_h * LAYERS[k + !last(k)].row;
}
CONSTANT int result_start(int k) {
    return last(k) ? LOGITS
                   : LAYERS[k + !last(k)].input + LAYERS[k + !last(k)].pad_h * result_row(k) + LAYERS[k + !last(k)].pad_w;
}
// Where its sums are, which are the result where nothing is pooled.
CONSTANT int sums_row(int k) { return LAYERS[k].pool ? LAYERS[k].out_w : result_row(k); }
CONSTANT int sums_plane(int k) { return LAYERS[k].pool ? LAYERS[k].out_h * LAYERS[k].out_w : result_plane(k); }
CONSTANT int sums_start(int k) { return LAYERS[k].pool ? LAYERS[k].sums : result_start(k); }

template <int K> DEVICE float activate(float z) {
    constexpr Layer l = LAYERS[K];
    if constexpr (l.activation == RELU) return z > 0 ? z : 0;
    if constexpr (l.activation == LEAKY_RELU) return z > 0 ? z : z * l.slope;
    if constexpr (l.activation == TANH) return tanhf(z);
    if constexpr (l.activation == SIGMOID) return 0.5f + 0.5f * tanhf(0.5f * z);
    return z;
}

// The activation's derivative from its value y.
template <int K> DEVICE float derivative(float y) {
    constexpr Layer l = LAYERS[K];
    if constexpr (l.activation == RELU) return y > 0 ? 1 : 0;
    if constexpr (l.activation == LEAKY_RELU) return y > 0 ? 1 : l.slope;
    if constexpr (l.activation == TANH) return 1 - y * y;
    if constexpr (l.activation == SIGMOID) return y * (1 - y);
    return 1;
}

DEVICE unsigned mixed(unsigned x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

// Dropout on hidden layers' results: a kept value is divided by the share that is kept. A dropped one is told from a
// true zero by its sign. Draws follow from the seed, the image's number in the training, the layer and the place.
struct Dropout {
    float keep, scale; // scale = 1 / keep
    unsigned limit, seed, number;
};

DEVICE Dropout dropout_of(float keep, unsigned seed, unsigned number) {
    return {keep, 1 / keep, unsigned(keep * 4294967040.0f), seed, number};
}

template <int K> DEVICE float dropped_out(float value, const Dropout &dropout, int image, int place) {
    if (last(K) || dropout.keep == 1) return value;
    const unsigned of_image = dropout.seed + 0x9e3779b9u * (dropout.number + unsigned(image));
    const unsigned draw = mixed(mixed(of_image ^ K * 0x85ebca6bu) + 0xc2b2ae35u * unsigned(place));
    return draw < dropout.limit ? value * dropout.scale + 0.0f : -0.0f;
}

// ---- forward ------------------------------------------------------------------------------------------------------

// A thread holds the sums of forward_out channels of one pixel in forward_images images: a weight that it loads serves
// all of the images, and a warp's threads load the same one.
template <int K> DEVICE void convolve(const float *weights, float *maps, int count, const Dropout &dropout) {
    constexpr Layer l = LAYERS[K];
    constexpr int OUT = l.forward_out, SOME = l.forward_images, PIXELS = l.out_h * l.out_w;
    const int groups = (count + SOME - 1) / SOME, tasks = padded(l.out) / OUT * groups * PIXELS;
    for (int task = THREAD; task < tasks; task += THREADS) {
        const int pixel = task % PIXELS, group = task / PIXELS % groups, first = task / PIXELS / groups * OUT;
        const int h = pixel / l.out_w, w = pixel % l.out_w;
        float *image = maps + group * SOME * IMAGE_FLOATS;
        const float *x = image + l.input + h * l.stride_h * l.row + w * l.stride_w;
        const float *weight = weights + l.weights + first, *bias = weights + biases(l) + first;
        float sum[SOME][OUT];
        UNROLL for (int s = 0; s < SOME; s++) UNROLL for (int o = 0; o < OUT; o++) sum[s][o] = bias[o];
#pragma unroll 1
        for (int c = 0; c < l.in; c++)
            UNROLL for (int t = 0; t < taps(l); t++) {
                const int at = c * l.map_h * l.row + t / l.kernel_w * l.dilation_h * l.row + t % l.kernel_w * l.dilation_w;
                float value[SOME];
                UNROLL for (int s = 0; s < SOME; s++) value[s] = x[s * IMAGE_FLOATS + at];
                UNROLL for (int o = 0; o < OUT; o += 4) {
                    const float4 k = *(const float4 *)(weight + (c * taps(l) + t) * padded(l.out) + o);
                    UNROLL for (int s = 0; s < SOME; s++) {
                        sum[s][o] += value[s] * k.x;
                        sum[s][o + 1] += value[s] * k.y;
                        sum[s][o + 2] += value[s] * k.z;
                        sum[s][o + 3] += value[s] * k.w;
                    }
                }
            }
        float *to = image + sums_start(K) + first * sums_plane(K) + h * sums_row(K) + w;
        UNROLL for (int s = 0; s < SOME; s++) UNROLL for (int o = 0; o < OUT; o++)
            if (first + o < l.out) {
                const float value = activate<K>(sum[s][o]);
                to[s * IMAGE_FLOATS + o * sums_plane(K)] =
                    l.pool ? value : dropped_out<K>(value, dropout, group * SOME + s, (first + o) * PIXELS + pixel);
            }
    }
}

// Every (image, channel, row, column) of a map, shared out among the threads.
#define FOR_EACH_NUMBER(channels, height, width)                                                            \
    for (int index = THREAD; index < count * (channels) * (height) * (width); index += THREADS)             \
        if (const int w = index % (width), h = index / (width) % (height), c = index / ((width) * (height)) % (channels); true) \
            if (float *const image = maps + index / ((width) * (height) * (channels)) * IMAGE_FLOATS; true)

template <int K> DEVICE void pool(float *maps, int count, const Dropout &dropout) {
    constexpr Layer l = LAYERS[K];
    FOR_EACH_NUMBER(l.out, l.pooled_h, l.pooled_w) {
        const float *from = image + l.sums + c * l.out_h * l.out_w;
        float value = l.pool == MAX_POOL ? -INFINITY : 0;
        int place = -1;
        for (int i = 0; i < l.pool_h; i++)
            for (int j = 0; j < l.pool_w; j++) {
                const int y = h * l.pool_stride_h + i - l.pool_pad_h, x = w * l.pool_stride_w + j - l.pool_pad_w;
                if (y < 0 || y >= l.out_h || x < 0 || x >= l.out_w) continue;
                const float other = from[y * l.out_w + x];
                if (l.pool != MAX_POOL) value += other;
                else if (other > value) value = other, place = y * l.out_w + x;
            }
        if (l.pool == MAX_POOL) image[l.places + (c * l.pooled_h + h) * l.pooled_w + w] = __int_as_float(place);
        else value *= 1.0f / (l.pool_h * l.pool_w);
        image[result_start(K) + c * result_plane(K) + h * result_row(K) + w] =
            dropped_out<K>(value, dropout, int(image - maps) / IMAGE_FLOATS, (c * l.pooled_h + h) * l.pooled_w + w);
    }
}

template <int K> DEVICE void run_forward(const float *weights, float *maps, int count, const Dropout &dropout) {
    if constexpr (K < NUM_LAYERS) {
        convolve<K>(weights, maps, count, dropout);
        SYNC;
        if constexpr (LAYERS[K].pool != NO_POOL) {
            pool<K>(maps, count, dropout);
            SYNC;
        }
        run_forward<K + 1>(weights, maps, count, dropout);
    }
}

// ---- backward -----------------------------------------------------------------------------------------------------

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
        if (l.pool == GLOBAL_POOL)
            gradient = *results;
        else
            for (int i = 0; i < l.pool_h; i++)
                for (int j = 0; j < l.pool_w; j++) {
                    const int y = h + l.pool_pad_h - i, x = w + l.pool_pad_w - j; // the window's corner, times the stride
                    if (y < 0 || x < 0 || y % l.pool_stride_h || x % l.pool_stride_w) continue;
                    const int row = y / l.pool_stride_h, column = x / l.pool_stride_w;
                    if (row >= l.pooled_h || column >= l.pooled_w) continue;
                    const int place = __float_as_int(image[l.places + (c * l.pooled_h + row) * l.pooled_w + column]);
                    if (l.pool != MAX_POOL || place == h * l.out_w + w) gradient += results[row * result_row(K) + column];
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
            UNROLL for (int i = 0; i < COUNT / 2; i++) {
                const float given = SHUFFLE(upper ? value[i] : value[i + COUNT / 2], DISTANCE);
                value[i] = (upper ? value[i + COUNT / 2] : value[i]) + given;
            }
            *first += upper ? COUNT / 2 : 0;
            sum_over_lanes<COUNT / 2, DISTANCE, TOTAL>(value, first, whole);
        } else {
            UNROLL for (int i = 0; i < COUNT; i++) value[i] += SHUFFLE(value[i], DISTANCE);
            *whole = *whole && !upper;
            sum_over_lanes<COUNT, DISTANCE, TOTAL>(value, first, whole);
        }
    }
}

// How many of COUNT numbers are left on a lane then.
CONSTANT int left_on_lane(int count, int splits) { return splits > 1 ? left_on_lane(count % 2 ? count : count / 2, splits / 2) : count; }
CONSTANT int splits_for(int tiles, int splits) { return splits > 1 && tiles * splits > THREADS ? splits_for(tiles, splits / 2) : splits; }

// A thread holds the gradients to the taps of gradient_out channels by one input channel (all taps, or a row of them
// where a kernel is large), summed over its share of the rows of all images; and those to their biases, which only the
// threads of the first input channel write.
template <int K> DEVICE void weight_gradient(const float *maps, int count, float *gradients) {
    constexpr Layer l = LAYERS[K];
    constexpr int OUT = l.gradient_out, TAPS = taps(l) <= 12 ? taps(l) : l.kernel_w, PARTS = taps(l) / TAPS, EACH = TAPS + 1;
    constexpr int TILES = padded(l.out) / OUT * l.in * PARTS, SPLITS = splits_for(TILES, WARP_LANES);
    for (int begin = 0; begin < TILES; begin += THREADS / SPLITS) {
        const int tile = begin + THREAD / SPLITS, c = tile % l.in, part = tile / l.in % PARTS, first = tile / l.in / PARTS * OUT;
        float sum[OUT * EACH] = {};
        if (tile < TILES) {
            for (int unit = THREAD % SPLITS; unit < count * l.out_h; unit += SPLITS) {
                const float *image = maps + unit / l.out_h * IMAGE_FLOATS;
                const int h = unit % l.out_h;
                const float *g = image + sums_start(K) + first * sums_plane(K) + h * sums_row(K);
                const float *x = image + l.input + c * l.map_h * l.row
                                 + (h * l.stride_h + part * TAPS / l.kernel_w * l.dilation_h) * l.row;
#pragma unroll(l.out_w <= 16 ? l.out_w : 4)
                for (int w = 0; w < l.out_w; w++) {
                    float gradient[OUT];
                    UNROLL for (int o = 0; o < OUT; o++) {
                        gradient[o] = padded(l.out) == l.out || first + o < l.out ? g[o * sums_plane(K) + w] : 0;
                        sum[o * EACH + TAPS] += gradient[o];
                    }
                    UNROLL for (int t = 0; t < TAPS; t++) {
                        const float value = x[t / l.kernel_w * l.dilation_h * l.row + t % l.kernel_w * l.dilation_w + w * l.stride_w];
                        UNROLL for (int o = 0; o < OUT; o++) sum[o * EACH + t] += value * gradient[o];
                    }
                }
            }
        }
        int start = 0;
        bool whole = tile < TILES;
        sum_over_lanes<OUT * EACH, SPLITS, OUT * EACH>(sum, &start, &whole);
        UNROLL for (int i = 0; i < left_on_lane(OUT * EACH, SPLITS); i++) {
            const int o = first + (start + i) / EACH, t = (start + i) % EACH;
            if (!whole || o >= l.out) continue;
            if (t < TAPS) gradients[l.flat + (o * l.in + c) * taps(l) + part * TAPS + t] += sum[i];
            else if (c == 0 && part == 0) gradients[flat_biases(l) + o] += sum[i];
        }
    }
}

// Rows or columns of gradients that the pixels of one stride get something from: those from lowest to highest, counted
// from the stride's number. Tap i of the pixel at `offset` within the stride reaches exactly one or none.
struct Reach { int lowest, highest; };
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
    constexpr Reach rows = reach(HIGH, l.pad_h, l.kernel_h, l.dilation_h), columns = reach(WIDE, l.pad_w, l.kernel_w, l.dilation_w);
    constexpr int ROWS = rows.highest - rows.lowest + 1, COLUMNS = columns.highest - columns.lowest + 1;
    constexpr int BLOCK_ROWS = (l.in_h + HIGH - 1) / HIGH, BLOCK_COLUMNS = (l.in_w + WIDE - 1) / WIDE, BLOCKS = BLOCK_ROWS * BLOCK_COLUMNS;
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
            UNROLL for (int p = 0; p < 4; p++) UNROLL for (int y = 0; y < ROWS; y++) UNROLL for (int x = 0; x < COLUMNS; x++) {
                const int row = h + rows.lowest + y, column = w + columns.lowest + x;
                const bool there = row >= 0 && row < l.out_h && column >= 0 && column < l.out_w && (l.out % 4 == 0 || o + p < l.out);
                UNROLL for (int m = 0; m < MANY; m++)
                    gradient[m][p][y][x] = there ? g[m * IMAGE_FLOATS + (o + p) * sums_plane(K) + y * sums_row(K) + x] : 0;
            }
            UNROLL for (int c = 0; c < SOME; c++) UNROLL for (int t = 0; t < taps(l); t++) {
                const float4 k = *(const float4 *)(weights + l.weights + ((first + c) * taps(l) + t) * padded(l.out) + o);
                UNROLL for (int a = 0; a < HIGH; a++) UNROLL for (int b = 0; b < WIDE; b++) {
                    const int row = reached(a, l.pad_h, t / l.kernel_w, l.dilation_h), column = reached(b, l.pad_w, t % l.kernel_w, l.dilation_w);
                    if (row % HIGH || column % WIDE) continue;
                    const int y = row / HIGH - rows.lowest, x = column / WIDE - columns.lowest;
                    UNROLL for (int m = 0; m < MANY; m++) {
                        sum[m][a][b][c] += k.x * gradient[m][0][y][x];
                        sum[m][a][b][c] += k.y * gradient[m][1][y][x];
                        sum[m][a][b][c] += k.z * gradient[m][2][y][x];
                        sum[m][a][b][c] += k.w * gradient[m][3][y][x];
                    }
                }
            }
        }
        UNROLL for (int m = 0; m < MANY; m++) UNROLL for (int a = 0; a < HIGH; a++) UNROLL for (int b = 0; b < WIDE; b++)
            UNROLL for (int c = 0; c < SOME; c++) {
                const int y = h * HIGH + a, x = w * WIDE + b;
                if (y >= l.in_h || x >= l.in_w) continue;
                float *value = images + m * IMAGE_FLOATS + l.input + ((first + c) * l.map_h + y + l.pad_h) * l.row + x + l.pad_w;
                *value = passed_back<K - 1>(sum[m][a][b][c], *value, dropout);
            }
    }
}

template <int K> DEVICE void run_backward(const float *weights, float *maps, int count, const Dropout &dropout, float *gradients) {
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
        UNROLL for (int o = 0; o < NUM_CLASSES; o++) sum += gradient[o] = expf(logits[o] - largest);
        UNROLL for (int o = 0; o < NUM_CLASSES; o++) {
            const float to_logit = gradient[o] * per_batch / sum - (o == labels[image] ? per_batch : 0);
            logits[o] = passed_back<NUM_LAYERS - 1>(to_logit, logits[o], dropout);
        }
    }
}

// ---- a network's training -----------------------------------------------------------------------------------------

// Calls with every parameter: its place in a flat vector, and in shared memory.
template <int K = 0, typename Visit> DEVICE void for_each_parameter(const Visit &visit) {
    if constexpr (K < NUM_LAYERS) {
        constexpr Layer l = LAYERS[K];
        for (int i = THREAD; i < l.out * l.in * taps(l); i += THREADS)
            visit(l.flat + i, l.weights + i % (l.in * taps(l)) * padded(l.out) + i / (l.in * taps(l)));
        for (int o = THREAD; o < l.out; o += THREADS) visit(flat_biases(l) + o, biases(l) + o);
        for_each_parameter<K + 1>(visit);
    }
}

DEVICE void load_network(const float *flat, float *weights, float *maps) {
    for (int i = THREAD; i < NUM_WEIGHTS + IMAGES * IMAGE_FLOATS; i += THREADS) weights[i] = 0; // padding; maps follow
    SYNC;
    for_each_parameter([&](int from, int to) { weights[to] = flat[from]; });
}

// Several numbers at a time, where a row has so many: a thread waits for global memory once for all of them.
DEVICE void load_images(const float *images, const int *which, int count, float *maps) {
    constexpr Layer l = LAYERS[0];
    constexpr int SOME = l.in_w % 4 == 0 ? 4 : 1, SIZE = l.in * l.in_h * l.in_w, PIECES = SIZE / SOME;
#pragma unroll 8
    for (int i = THREAD; i < count * PIECES; i += THREADS) {
        const int place = i % PIECES * SOME, w = place % l.in_w, h = place / l.in_w % l.in_h, c = place / (l.in_w * l.in_h);
        const float *from = images + (long long)which[i / PIECES] * SIZE + place;
        float *to = maps + i / PIECES * IMAGE_FLOATS + l.input + (c * l.map_h + h + l.pad_h) * l.row + w + l.pad_w;
        if constexpr (SOME == 4) {
            const float4 four = *(const float4 *)from;
            to[0] = four.x;
            to[1] = four.y;
            to[2] = four.z;
            to[3] = four.w;
        } else {
            *to = *from;
        }
    }
}

// What is the same for every step of a training: see _Rule in side_by_side.py for the form of all optimizers.
struct Rule {
    float keep, add, keep_second, add_second, rate, adam_rate, root, adam_root, floor, decay, pull, dropout;
};

struct Job {
    long long order;              // where its images' numbers begin: those of its first epoch, then of its second, ...
    int count, epochs, batch_size;
    unsigned seed;
    Rule rule;
};

DEVICE void step(const Rule &r, int number, float *flat, float *first, float *second, float *gradients, const float *anchor, float *weights) {
    const float rate = r.rate + r.adam_rate / (1 - powf(0.9f, float(number)));
    const float root = r.root + r.adam_root / sqrtf(1 - powf(0.999f, float(number)));
    for_each_parameter([&](int i, int place) {
        const float value = weights[place];
        const float g = gradients[i] + r.decay * value + (anchor ? r.pull * (value - anchor[i]) : 0);
        gradients[i] = 0;
        first[i] = r.keep * first[i] + r.add * g;
        second[i] = r.keep_second * second[i] + r.add_second * g * g;
        weights[place] = value - rate * first[i] / (root * sqrtf(second[i]) + r.floor);
    });
}

// Trains network blockIdx.x from flat [B, P], in place. memory: [B, 3, P] zeros. anchors: [B, P] or null. Labels and
// the order's numbers count through images [N, in, height, width].
KERNEL zoovet_train(const Job *jobs, const float *images, const int *labels, const int *orders, const float *anchors, float *flats, float *memory) {
    extern __shared__ float4 shared[];
    float *weights = (float *)shared;
    float *maps = weights + NUM_WEIGHTS;
    int *which = (int *)(maps + IMAGES * IMAGE_FLOATS), *wanted = which + IMAGES;
    const Job job = jobs[blockIdx.x];
    float *flat = flats + (long long)blockIdx.x * NUM_PARAMETERS, *first = memory + 3ll * blockIdx.x * NUM_PARAMETERS;
    float *second = first + NUM_PARAMETERS, *gradients = second + NUM_PARAMETERS;
    const float *anchor = anchors ? anchors + (long long)blockIdx.x * NUM_PARAMETERS : nullptr;
    const float keep = 1 - job.rule.dropout;
    int number = 0;
    load_network(flat, weights, maps);
    for (int epoch = 0; epoch < job.epochs; epoch++) {
        const int *order = orders + job.order + (long long)epoch * job.count;
        for (int begin = 0; begin < job.count; begin += job.batch_size) {
            const int size = job.count - begin < job.batch_size ? job.count - begin : job.batch_size;
            for (int done = 0; done < size; done += IMAGES) {
                const int count = size - done < IMAGES ? size - done : IMAGES;
                SYNC;
                for (int i = THREAD; i < count; i += THREADS) {
                    which[i] = order[begin + done + i];
                    wanted[i] = labels[which[i]];
                }
                SYNC;
                load_images(images, which, count, maps);
                SYNC;
                const Dropout dropout = dropout_of(keep, job.seed, unsigned(epoch * job.count + begin + done));
                run_forward<0>(weights, maps, count, dropout);
                loss_gradient(maps, count, wanted, 1.0f / size, dropout);
                SYNC;
                run_backward<NUM_LAYERS - 1>(weights, maps, count, dropout, gradients);
            }
            SYNC;
            step(job.rule, ++number, flat, first, second, gradients, anchor, weights);
        }
    }
    SYNC;
    for_each_parameter([&](int to, int from) { flat[to] = weights[from]; });
}

// The largest logits' places [B, count], for networks flat [B, P] and the images [N, ...] that numbers [B, count] count
// through, or where it is null the first ones; the blocks blockIdx.y share a network's images out.
KERNEL zoovet_classify(const float *flats, const float *images, const int *numbers, int count, int per_block, long long *labels) {
    extern __shared__ float4 shared[];
    float *weights = (float *)shared;
    float *maps = weights + NUM_WEIGHTS;
    int *which = (int *)(maps + IMAGES * IMAGE_FLOATS);
    load_network(flats + (long long)blockIdx.x * NUM_PARAMETERS, weights, maps);
    const int begin = blockIdx.y * per_block, end = count - begin < per_block ? count : begin + per_block;
    for (int done = begin; done < end; done += IMAGES) {
        const int some = end - done < IMAGES ? end - done : IMAGES;
        SYNC;
        for (int i = THREAD; i < some; i += THREADS) which[i] = numbers ? numbers[(long long)blockIdx.x * count + done + i] : done + i;
        SYNC;
        load_images(images, which, some, maps);
        SYNC;
        run_forward<0>(weights, maps, some, dropout_of(1, 0, 0));
        for (int i = THREAD; i < some; i += THREADS) {
            const float *logits = maps + i * IMAGE_FLOATS + LOGITS;
            int best = 0;
            for (int o = 1; o < NUM_CLASSES; o++) best = logits[o] > logits[best] ? o : best;
            labels[(long long)blockIdx.x * count + done + i] = best;
        }
    }
}
