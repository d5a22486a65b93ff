// What trainer.cu takes from CUDA, for a C++ compiler: a block's threads are threads of this process, blocks run one
// after another. Include it before the source, and define THREADS, or let the constants' file do so.
#include <math.h>
#include <string.h>

#include <barrier>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(threads, blocks)
#define __syncthreads() block_barrier->arrive_and_wait()
#define __shfl_xor_sync(lanes, value, distance) exchanged(value, distance)

struct float4 { float x, y, z, w; };
struct index3 { int x, y, z; };
static thread_local index3 threadIdx, blockIdx;
static std::barrier<> *block_barrier;
static std::vector<std::barrier<> *> warp_barriers;
static float given[1024];

static float __int_as_float(int x) { float y; memcpy(&y, &x, 4); return y; }
static int __float_as_int(float x) { int y; memcpy(&y, &x, 4); return y; }
static unsigned __float_as_uint(float x) { unsigned y; memcpy(&y, &x, 4); return y; }

static float exchanged(float value, int distance) {
    std::barrier<> *warp = warp_barriers[threadIdx.x / 32];
    given[threadIdx.x] = value;
    warp->arrive_and_wait();
    const float other = given[threadIdx.x ^ distance];
    warp->arrive_and_wait();
    return other;
}

// shared: a block's shared memory, which the including file defines, as large as the kernels are given.
template <typename Kernel> static void run_blocks(float4 *shared, size_t bytes, int threads, int blocks, int parts, const Kernel &kernel) {
    std::barrier<> block(threads);
    block_barrier = &block;
    for (int first = 0; first < threads; first += 32)
        warp_barriers.push_back(new std::barrier<>(threads - first < 32 ? threads - first : 32));
    for (int x = 0; x < blocks; x++)
        for (int y = 0; y < parts; y++) {
            memset(shared, 0x7f, bytes); // as little to be relied on as a GPU's
            std::vector<std::thread> running;
            for (int number = 0; number < threads; number++)
                running.emplace_back([=, &kernel] {
                    threadIdx = {number, 0, 0};
                    blockIdx = {x, y, 0};
                    kernel();
                });
            for (std::thread &one : running) one.join();
        }
    for (std::barrier<> *warp : warp_barriers) delete warp;
    warp_barriers.clear();
}
