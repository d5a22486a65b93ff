// What trainer.cu's layers are: constants of the graph, and where weights and maps lie in shared memory.
#pragma once

#define THREAD int(threadIdx.x)
#define WARP_LANES (THREADS < 32 ? THREADS : 32)
#define LANE (THREAD % WARP_LANES)
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
    int map_h, row, input; // the input map with its padding, and where it starts among an image's floats
    int sums, places;      // where the sums of a layer that pools start, and the places of the maxima
    int weights, flat;     // where the parameters start, in shared memory and in a flat vector
    int forward_out, forward_images, input_channels, input_images,
        gradient_out; // tiles that one thread holds in registers
};

// THREADS, IMAGES, IMAGE_FLOATS, NUM_LAYERS, NUM_WEIGHTS, NUM_PARAMETERS, NUM_CLASSES, LOGITS, LAYERS
#include CONSTANTS_FILE

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
    return last(k)
               ? LOGITS
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
