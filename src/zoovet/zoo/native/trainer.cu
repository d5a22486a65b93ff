// Training and running many small networks on a GPU: a block of threads takes one network through its whole training.
//
// Compiled once per network graph: the generated constants describe the layers (see cuda_trainer.py), and every loop
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

#include "cuda_backward.cuh"

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
        const int place = i % PIECES * SOME, w = place % l.in_w, h = place / l.in_w % l.in_h,
                  c = place / (l.in_w * l.in_h);
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
    long long order; // where its images' numbers begin: those of its first epoch, then of its second, ...
    int count, epochs, batch_size;
    unsigned seed;
    Rule rule;
};

DEVICE void step(const Rule &r, int number, float *first, float *second, float *gradients, const float *anchor,
                 float *weights) {
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
KERNEL zoovet_train(const Job *jobs, const float *images, const int *labels, const int *orders, const float *anchors,
                    float *flats, float *memory) {
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
            step(job.rule, ++number, first, second, gradients, anchor, weights);
        }
    }
    SYNC;
    for_each_parameter([&](int to, int from) { flat[to] = weights[from]; });
}

// The largest logits' places [B, count], for networks flat [B, P] and the images [N, ...] that numbers [B, count] count
// through, or where it is null the first ones; the blocks blockIdx.y share a network's images out.
KERNEL zoovet_classify(const float *flats, const float *images, const int *numbers, int count, int per_block,
                       long long *labels) {
    extern __shared__ float4 shared[];
    float *weights = (float *)shared;
    float *maps = weights + NUM_WEIGHTS;
    int *which = (int *)(maps + IMAGES * IMAGE_FLOATS);
    load_network(flats + (long long)blockIdx.x * NUM_PARAMETERS, weights, maps);
    const int begin = blockIdx.y * per_block, end = count - begin < per_block ? count : begin + per_block;
    for (int done = begin; done < end; done += IMAGES) {
        const int some = end - done < IMAGES ? end - done : IMAGES;
        SYNC;
        for (int i = THREAD; i < some; i += THREADS)
            which[i] = numbers ? numbers[(long long)blockIdx.x * count + done + i] : done + i;
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
