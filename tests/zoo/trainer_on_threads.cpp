// trainer.cu as a library that runs on processors: see cuda_on_threads.h.
#include "cuda_on_threads.h"

#include TRAINER_SOURCE

alignas(16) float4 shared[(NUM_WEIGHTS + IMAGES * (IMAGE_FLOATS + 2) + 3) / 4];

extern "C" void run_train(int blocks, const Job *jobs, const float *images, const int *labels, const int *orders,
                          const float *anchors, float *flats, float *memory) {
    run_blocks(shared, sizeof shared, THREADS, blocks, 1, [=] { zoovet_train(jobs, images, labels, orders, anchors, flats, memory); });
}

extern "C" void run_classify(int blocks, int parts, const float *flats, const float *images, const int *numbers, int count,
                             int per_block, long long *labels) {
    run_blocks(shared, sizeof shared, THREADS, blocks, parts, [=] { zoovet_classify(flats, images, numbers, count, per_block, labels); });
}
