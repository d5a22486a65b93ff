/* Training and running one small network, one image at a time, on one thread.
 *
 * Compiled once per network graph: the generated file defines the layers as constants (see compiler.py),
 * includes this one, and every loop below is unrolled for them. An image's activations and gradients stay in the
 * first-level cache, a vector holds 4 to 16 channels of one pixel, and a tile of pixels shares each weight that is loaded.
 *
 * Every layer is a convolution: a linear layer is one on a 1 x 1 map, or with a kernel as large as the map.
 *
 * Layouts (float32; channels rounded up to BLOCK, "lanes", beyond the first layer's input)
 *   image        [channels, height, width], as torch has it
 *   map          [height + 2 padding, width + 2 padding, channels], padded for the layer that reads it
 *   parameters   for each layer: weight [kernel height, kernel width, in, out lanes], bias [out lanes]
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "denormals.h"
#include "layers.h"
#include "optimizer.h"
#include CONSTANTS_FILE /* NUM_LAYERS, LAYERS[], NUM_PARAMETERS, NUM_TRANSPOSED, NUM_CLASSES, FOR_EACH_LAYER(_BACKWARD) */

typedef struct {
    float *in[NUM_LAYERS + 1], *in_gradient[NUM_LAYERS + 1];   /* padded maps; the last one holds the logits */
    float *full[NUM_LAYERS], *full_gradient[NUM_LAYERS];       /* maps before pooling */
    float *transposed;
    bits random[BLOCK / LANES];
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
    for (int lane = 0; lane < BLOCK; lane++) {      /* splitmix: distinct non-zero states for a block's channels */
        uint32_t z = seed + 0x9e3779b9u * (lane + 1);
        z = (z ^ (z >> 16)) * 0x85ebca6bu;
        z = (z ^ (z >> 13)) * 0xc2b2ae35u;
        s->random[lane / LANES][lane % LANES] = (z ^ (z >> 16)) | 1u;
    }
    return failed;
}

INLINE void put_image(workspace *s, const float *image) {
    const layer *l = &LAYERS[0];
    float *to = s->in[0] + l->pad_h * row_floats(l) + l->pad_w * l->in_lanes;
    if (l->in == 1 && l->in_lanes == 1) {
        for (int h = 0; h < l->in_h; h++) memcpy(to + h * row_floats(l), image + (long)h * l->in_w, l->in_w * sizeof(float));
        return;
    }
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
                bits *own = s->random + block / LANES % (BLOCK / LANES), r = *own;
                r ^= r << 13; r ^= r >> 17; r ^= r << 5;
                *own = r;
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
static float loss(workspace *s, const samples *of, int64_t n, float per_batch) {
    return cross_entropy(of, n, NUM_CLASSES, s->in[NUM_LAYERS], s->in_gradient[NUM_LAYERS], per_batch);
}

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
        total += loss(s, of, n, 1.0f / (end - start));
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
        update(parameters, gradients, first, second, how, ++*step, 0, NUM_PARAMETERS);
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
        loss(&s, &(samples){.labels = labels}, n, 1);
        run_backward(&s, NULL, 1);
        image_gradient(&s, parameters, gradients + n * IMAGE_SIZE);
    }
    restore_denormals(before);
    close_workspace(&s);
    return 0;
}

/* Gradient to each image of what has the gradients `to_logits` [count, NUM_CLASSES] to its logits. Returns 0, or -1 without
 * memory. */
int zoovet_image_slopes(const float *parameters, const float *images, const float *to_logits, int64_t count, float *gradients) {
    workspace s;
    if (open_workspace(&s, 1)) { close_workspace(&s); return -1; }
    const uint64_t before = flush_denormals();
    transpose(parameters, s.transposed);
    for (int64_t n = 0; n < count; n++) {
        put_image(&s, images + n * IMAGE_SIZE);
        run_forward(&s, parameters, 1);
        memcpy(s.in_gradient[NUM_LAYERS], to_logits + n * NUM_CLASSES, NUM_CLASSES * sizeof(float));
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
