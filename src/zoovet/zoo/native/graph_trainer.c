/* Training and running one network of any known graph on one thread, a batch at a time, image by image.
 *
 * Compiled once per graph: the generated file (see graph_source.py) has a function for each operation and the steps of a batch.
 * Only a batch norm's statistics need all images of a batch, so that between two of them everything is done to one image while
 * it lies in the cache. Sites that only such a run of steps needs have room for one image.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "denormals.h"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-predictive-commoning") /* it keeps a window's numbers for the next pixel, where registers are full */
#endif
#include "lanes.h"
#include CONSTANTS_FILE /* LANES alone; all else where it comes again */
#include "graph_layers.h"
#include "graph_functions.h"
#include "optimizer.h"

typedef struct workspace workspace;
static void put_image(workspace *s, long n, float *to);
static float loss(workspace *s, long n, const float *logits, float *gradient);
#include CONSTANTS_FILE

/* Images [channels, height, width] by their number, as trainer.c has them. */
static const float *image_at(const samples *of, int32_t index) {
    return index < of->num_images ? of->images + index * IMAGE_SIZE : of->more + (index - of->num_images) * IMAGE_SIZE;
}

static void put_image(workspace *s, long n, float *to) {
    const float *image = image_at(s->of, s->of->order[s->start + n]);
    for (int c = 0; c < IMAGE_CHANNELS; c++)
        for (int h = 0; h < IMAGE_HEIGHT; h++)
            for (int w = 0; w < IMAGE_WIDTH; w++) to[h * IMAGE_ROW + w * IMAGE_PIXEL + c] = *image++;
}

/* Cross-entropy of the logits; its gradient, divided by the batch size. */
static float loss(workspace *s, long n, const float *logits, float *gradient) {
    return cross_entropy(s->of, s->start + n, NUM_CLASSES, logits, gradient, 1.0f / s->count);
}

#define HUGE_PAGE (1L << 21)

/* Zeros. What all images of a batch need room for is megabytes that are passed over again and again: in huge pages, where the
 * system has them, few addresses have to be looked up. */
static int give(float **into, long count) {
    const long size = (count * sizeof(float) + 127) / 64 * 64;
    const int is_large = size >= HUGE_PAGE;
    *into = aligned_alloc(is_large ? HUGE_PAGE : 64, is_large ? (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE : size);
#ifdef MADV_HUGEPAGE
    if (*into && is_large) madvise(*into, (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    if (*into) memset(*into, 0, size);
    return !*into;
}

static void close_workspace(workspace *s) {
    for (int k = 0; k < NUM_SITES; k++) { free(s->values[k]); if (GRADIENT_OWNER[k] == k) free(s->gradients[k]); }
    free(s->packed); free(s->packed_gradients); free(s->flat_gradients); free(s->norm_floats); free(s->norm_doubles);
}

/* Room for batches of this many images, or for one image at a time (0). */
static int open_workspace(workspace *s, long capacity) {
    memset(s, 0, sizeof *s);
    int failed = give(&s->packed, NUM_PACKED) | give(&s->packed_gradients, NUM_PACKED)
               | give(&s->flat_gradients, NUM_PARAMETERS) | give(&s->norm_floats, 6 * NUM_NORM_CHANNELS)
               | !(s->norm_doubles = calloc(4 * NUM_NORM_CHANNELS + 1, sizeof(double)));
    for (int k = 0; k < NUM_SITES; k++) {
        failed |= give(&s->values[k], VALUE_SIZE[k] * (VALUE_STRIDE[k] && capacity ? capacity : 1));
        if (GRADIENT_OWNER[k] == k)
            failed |= give(&s->gradients[k], GRADIENT_SIZE[k] * (GRADIENT_STRIDE[k] && capacity ? capacity : 1));
    }
    for (int k = 0; k < NUM_SITES; k++) s->gradients[k] = s->gradients[GRADIENT_OWNER[k]];
    if (failed) return 1;
    for (int b = 0, at = 0; b < NUM_NORMS; at += NORM_CHANNELS[b++]) {
        float *f = s->norm_floats + 6 * at;
        double *d = s->norm_doubles + 4 * at;
        const int c = NORM_CHANNELS[b];
        s->norms[b] = (norm){d, d + c, d + 2 * c, d + 3 * c, 0, f, f + c, f + 2 * c, f + 3 * c, f + 4 * c, f + 5 * c};
    }
    return 0;
}

/* Train on the samples in their order, in batches of `batch_size` (the last may be smaller), batch norms by each batch's
 * statistics. Returns the mean loss, or -1 without memory. first, second: the optimizer's memory; *step: steps taken; keep,
 * seed: of the dropout, where the graph was compiled with it. */
float zoovet_train(float *parameters, float *first, float *second, int64_t *step, const optimizer *how, float keep,
                   uint32_t seed, const samples *of, int64_t count, int64_t batch_size) {
    workspace s;
    double total = 0;
    if (open_workspace(&s, batch_size < count ? batch_size : count)) { close_workspace(&s); return -1; }
    const uint64_t before = flush_denormals();
    s.of = of;
    s.keep = keep;
    s.seed = seed;
    s.flat = parameters;
    for (s.start = 0; s.start < count; s.start += batch_size) {
        s.count = s.start + batch_size < count ? batch_size : count - s.start;
        s.loss = 0;
        pack(&s);
        train_batch(&s);
        unpack(&s);
        total += s.loss;
        ++*step;
        for (int k = 0; k < NUM_TRAINED; k++)
            update(parameters, s.flat_gradients, first, second, how, *step, TRAINED[k][0], TRAINED[k][1]);
        memset(s.flat_gradients, 0, NUM_PARAMETERS * sizeof(float));
    }
    restore_denormals(before);
    close_workspace(&s);
    return (float)(total / count);
}

/* Run the network on each image of the samples, batch norms by their running statistics. All but `logits` may be NULL:
 * to_logits [count, classes] takes the place of the loss's gradient, which the labels give; `image_gradients` get gradients of
 * each image's own loss, `gradients` those of the mean loss to the weights. Returns the mean loss, or -1 without memory. */
float zoovet_evaluate(const float *parameters, const samples *of, int64_t count, const float *to_logits, float *logits,
                      float *image_gradients, float *gradients) {
    workspace s;
    double total = 0;
    if (open_workspace(&s, 0)) { close_workspace(&s); return -1; }
    const uint64_t before = flush_denormals();
    s.of = of;
    s.keep = 1;
    s.flat = (float *)parameters;
    s.count = gradients ? count : 1;
    pack(&s);
    prepare_evaluation(&s);
    for (s.start = 0; s.start < count; s.start++) {
        evaluate_image(&s);
        if (logits) memcpy(logits + s.start * NUM_CLASSES, s.values[OUTPUT], NUM_CLASSES * sizeof(float));
        if (!image_gradients && !gradients) continue;
        if (to_logits) memcpy(s.gradients[OUTPUT], to_logits + s.start * NUM_CLASSES, NUM_CLASSES * sizeof(float));
        else total += loss(&s, 0, s.values[OUTPUT], s.gradients[OUTPUT]);
        evaluate_back(&s);
        if (image_gradients)
            for (int c = 0; c < IMAGE_CHANNELS; c++)
                for (int h = 0; h < IMAGE_HEIGHT; h++)
                    for (int w = 0; w < IMAGE_WIDTH; w++)
                        *image_gradients++ = s.gradients[0][GRADIENT_START[0] + h * IMAGE_GRADIENT_ROW
                                                            + w * IMAGE_GRADIENT_PIXEL + c];
    }
    if (gradients) {
        finish_evaluation(&s);
        unpack(&s);
        memcpy(gradients, s.flat_gradients, NUM_PARAMETERS * sizeof(float));
    }
    restore_denormals(before);
    close_workspace(&s);
    return (float)(total / count);
}
