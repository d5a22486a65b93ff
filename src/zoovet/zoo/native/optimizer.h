/* What compiled trainers are given, and one step of an optimizer. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SGD, ADAM, RMSPROP };

typedef struct {
    int32_t kind;
    float learning_rate, momentum, second, epsilon, weight_decay, pull;
    const float *anchor;        /* NULL, or the parameters that a pull of this strength goes towards */
} optimizer;

/* Images by their number and labels in their order: a number beyond num_images it is one of `more`. seconds: NULL, or each
 * sample's second label, which has its share of `shares`; then `smoothing` of a label goes to all classes alike. */
typedef struct {
    const float *images;
    int64_t num_images;
    const float *more;
    const int32_t *order, *labels, *seconds;
    const float *shares;
    float smoothing;
} samples;

/* Cross-entropy of a sample's logits [classes]; its gradient times `share`. */
static inline __attribute__((always_inline)) float cross_entropy(const samples *of, int64_t n, int classes, const float *logits,
                                                                 float *gradient, float share) {
    const int label = of->labels[n];
    float largest = logits[0], sum = 0, wanted = 0;
    for (int o = 1; o < classes; o++) largest = logits[o] > largest ? logits[o] : largest;
    for (int o = 0; o < classes; o++) sum += gradient[o] = expf(logits[o] - largest);
    for (int o = 0; o < classes; o++) gradient[o] *= share / sum;
    if (!of->seconds) {
        gradient[label] -= share;
        return logf(sum) + largest - logits[label];
    }
    for (int o = 0; o < classes; o++) {
        const float mixed = (o == label) * (1 - of->shares[n]) + (o == of->seconds[n]) * of->shares[n];
        const float target = (1 - of->smoothing) * mixed + of->smoothing / classes;
        gradient[o] -= share * target;
        wanted += target * logits[o];
    }
    return logf(sum) + largest - wanted;
}

/* One step of torch.optim's SGD (momentum), Adam or RMSprop on parameters `from` up to `to`, weight decay and pull added to the
 * gradient; which is zero afterwards. */
static void update(float *restrict parameters, float *restrict gradients, float *restrict first, float *restrict second,
                   const optimizer *given, int64_t step, long from, long to) {
    const optimizer o = *given;      /* no store below changes it, so that the loop is one of vectors */
    const float correct1 = 1 - powf(o.momentum, (float)step), correct2 = sqrtf(1 - powf(o.second, (float)step));
    const float kept = step == 1 && o.kind == SGD ? 0 : o.momentum;
    for (long i = from; i < to; i++) {
        gradients[i] += o.weight_decay * parameters[i];
        if (o.anchor) gradients[i] += o.pull * (parameters[i] - o.anchor[i]);
    }
    if (o.kind == SGD) {
        for (long i = from; i < to; i++) {
            first[i] = kept * first[i] + gradients[i];
            parameters[i] -= o.learning_rate * first[i];
        }
    } else if (o.kind == ADAM) {
        for (long i = from; i < to; i++) {
            const float g = gradients[i];
            first[i] = o.momentum * first[i] + (1 - o.momentum) * g;
            second[i] = o.second * second[i] + (1 - o.second) * g * g;
            parameters[i] -= o.learning_rate / correct1 * first[i] / (sqrtf(second[i]) / correct2 + o.epsilon);
        }
    } else {
        for (long i = from; i < to; i++) {
            const float g = gradients[i];
            second[i] = o.second * second[i] + (1 - o.second) * g * g;
            parameters[i] -= o.learning_rate * g / (sqrtf(second[i]) + o.epsilon);
        }
    }
    memset(gradients + from, 0, (to - from) * sizeof(float));
}
