// From images to logits, in the maps of shared memory.
#pragma once

#include "cuda_layers.cuh"

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
        UNROLL
        for (int s = 0; s < SOME; s++) UNROLL
        for (int o = 0; o < OUT; o++) sum[s][o] = bias[o];
#pragma unroll 1
        for (int c = 0; c < l.in; c++) UNROLL
        for (int t = 0; t < taps(l); t++) {
            const int at = c * l.map_h * l.row + t / l.kernel_w * l.dilation_h * l.row + t % l.kernel_w * l.dilation_w;
            float value[SOME];
            UNROLL
            for (int s = 0; s < SOME; s++) value[s] = x[s * IMAGE_FLOATS + at];
            UNROLL
            for (int o = 0; o < OUT; o += 4) {
                const float4 k = *(const float4 *)(weight + (c * taps(l) + t) * padded(l.out) + o);
                UNROLL
                for (int s = 0; s < SOME; s++) {
                    sum[s][o] += value[s] * k.x;
                    sum[s][o + 1] += value[s] * k.y;
                    sum[s][o + 2] += value[s] * k.z;
                    sum[s][o + 3] += value[s] * k.w;
                }
            }
        }
        float *to = image + sums_start(K) + first * sums_plane(K) + h * sums_row(K) + w;
        UNROLL
        for (int s = 0; s < SOME; s++) UNROLL
        for (int o = 0; o < OUT; o++)
            if (first + o < l.out) {
                const float value = activate<K>(sum[s][o]);
                to[s * IMAGE_FLOATS + o * sums_plane(K)] =
                    l.pool ? value : dropped_out<K>(value, dropout, group * SOME + s, (first + o) * PIXELS + pixel);
            }
    }
}

// Every (image, channel, row, column) of a map, shared out among the threads.
#define FOR_EACH_NUMBER(channels, height, width)                                                                       \
    for (int index = THREAD; index < count * (channels) * (height) * (width); index += THREADS)                        \
        if (const int w = index % (width), h = index / (width) % (height),                                             \
            c = index / ((width) * (height)) % (channels);                                                             \
            true)                                                                                                      \
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
