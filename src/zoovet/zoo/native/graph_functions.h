/* Everything of a graph that is no convolution, on one image: activations, sums, pools, batch norms, the loss.
 *
 * A `place` is a map's size and steps; `adds` says that a gradient is added to what stands there.
 */
typedef struct { int height, width, channels; long row, pixel; } place;   /* channels in whole vectors, where not said else */

enum { IDENTITY, RELU, RELU6, LEAKY_RELU, ELU, TANH, SIGMOID, SILU, GELU };

#define FOR_PIXELS(p) for (int h = 0; h < (p).height; h++) for (int w = 0; w < (p).width; w++)
#define FOR_VECTORS(p) FOR_PIXELS(p) for (int c = 0; c < (p).channels; c += LANES)
#define AT(p) (h * (p).row + w * (p).pixel + c)

INLINE void put(float *to, vec v, int adds) { store(to, adds ? load(to) + v : v); }

INLINE vec each(vec x, float (*function)(float)) {
    UNROLL for (int lane = 0; lane < LANES; lane++) x[lane] = function(x[lane]);
    return x;
}

INLINE vec normal_below(vec x) { return 0.5f + 0.5f * each(x * 0.70710678118654752f, erff); }

/* e^x - 1 of numbers that are not positive: 2 t / (1 - t), t the tanh of x / 2. */
INLINE vec exp_minus_one(vec x) {
    const vec t = tanh_vec(0.5f * x);
    return 2 * t / (1 - t);
}

INLINE vec activation(int kind, float constant, vec x) {
    switch (kind) {
    case RELU: return choose(x > 0, x, (vec){0});
    case RELU6: x = choose(x > 0, x, (vec){0}); return choose(x < 6, x, splat(6));
    case LEAKY_RELU: return choose(x > 0, x, x * constant);
    case ELU: return choose(x > 0, x, constant * exp_minus_one(choose(x > 0, (vec){0}, x)));
    case TANH: return tanh_vec(x);
    case SIGMOID: return sigmoid_vec(x);
    case SILU: return x * sigmoid_vec(x);
    case GELU: return x * normal_below(x);
    default: return x;
    }
}

/* The derivative, from the value y; from x for those that are not monotonous. */
INLINE vec derivative(int kind, float constant, vec x, vec y) {
    switch (kind) {
    case RELU: return choose(y > 0, splat(1), (vec){0});
    case RELU6: return choose((y > 0) & (y < 6), splat(1), (vec){0});
    case LEAKY_RELU: return choose(x > 0, splat(1), splat(constant));
    case ELU: return choose(x > 0, splat(1), y + constant);
    case TANH: return 1 - y * y;
    case SIGMOID: return y * (1 - y);
    case SILU: { const vec s = sigmoid_vec(x); return s * (1 + x * (1 - s)); }
    case GELU: return normal_below(x) + x * 0.3989422804014327f * each(-0.5f * x * x, expf);
    default: return splat(1);
    }
}

INLINE void activate(int kind, float constant, place from, place to, const float *x, float *y) {
    FOR_VECTORS(to) store(y + AT(to), activation(kind, constant, load(x + AT(from))));
}

/* keep: 1, or the share of the values y that a dropout kept, which are larger by it. */
INLINE void activate_back(int kind, float constant, place x_place, place y_place, place dx_place, place dy_place,
                          const float *x, const float *y, float *dx, const float *dy, int adds, float keep) {
    FOR_VECTORS(y_place) {
        vec value = load(y + AT(y_place));
        if (kind == RELU6 && keep < 1) value = choose(value < 6 * (1 / keep), value * keep, splat(6));
        else value *= keep;
        const vec slope = derivative(kind, constant, x ? load(x + AT(x_place)) : (vec){0}, value);
        put(dx + AT(dx_place), slope * load(dy + AT(dy_place)), adds);
    }
}

/* Dropout, on values and on their gradients: what stays follows from a key and a number's place. */
INLINE void drop(place at, float *y, uint32_t key, float keep) {
    const bits limit = (uint32_t)(keep * 4294967040.0f) - (bits){0};
    bits lanes;
    for (int lane = 0; lane < LANES; lane++) lanes[lane] = lane;
    FOR_VECTORS(at) {
        bits r = (lanes + (uint32_t)((h * at.width + w) * at.channels + c)) * 0x9e3779b9u + key;
        r ^= r >> 16; r *= 0x85ebca6bu;
        r ^= r >> 13; r *= 0xc2b2ae35u;
        r ^= r >> 16;
        store(y + AT(at), choose((mask)(r < limit), load(y + AT(at)) * (1 / keep), (vec){0}));
    }
}

static uint32_t drop_key(uint32_t seed, long sample, int site) {
    uint32_t z = seed + 0x9e3779b9u * (uint32_t)(sample + 1) + 0x7f4a7c15u * (uint32_t)(site + 1);
    z = (z ^ (z >> 16)) * 0x85ebca6bu;
    z = (z ^ (z >> 13)) * 0xc2b2ae35u;
    return z ^ (z >> 16);
}

INLINE void copy(place from, place to, const float *x, float *y, int adds) {
    FOR_VECTORS(to) put(y + AT(to), load(x + AT(from)), adds);
}

INLINE void add(place first, place second, place to, const float *a, const float *b, float *y) {
    FOR_VECTORS(to) store(y + AT(to), load(a + AT(first)) + load(b + AT(second)));
}

/* Channels one by one from one map to another, at any offset: what a concatenation does, both ways. */
INLINE void move_channels(place from, place to, int channels, const float *x, float *y, int adds) {
    FOR_PIXELS(to)
        for (int c = 0; c < channels; c++) y[AT(to)] = (adds ? y[AT(to)] : 0) + x[AT(from)];
}

/* A map to a vector, channel by channel as torch has them, and its gradient the way back. */
INLINE void flatten(place from, int channels, const float *x, float *y) {
    FOR_PIXELS(from)
        for (int c = 0; c < channels; c++) y[((long)c * from.height + h) * from.width + w] = x[AT(from)];
}

INLINE void flatten_back(place to, int channels, float *dx, const float *dy, int adds) {
    FOR_PIXELS(to) {
        for (int c = 0; c < channels; c++)
            dx[AT(to)] = (adds ? dx[AT(to)] : 0) + dy[((long)c * to.height + h) * to.width + w];
        if (!adds) for (int c = channels; c < to.channels; c++) dx[AT(to)] = 0;
    }
}

/* ---- pools: windows that are cut off at the edge ------------------------------------------------------------------- */

typedef struct { int h, w, stride_h, stride_w, top, left, is_max, counts_padding; } window;

#define FOR_WINDOW(k, from)                                                                                     \
    for (int i = 0; i < (k).h; i++) for (int j = 0; j < (k).w; j++)                                             \
        if (h * (k).stride_h + i - (k).top >= 0 && h * (k).stride_h + i - (k).top < (from).height               \
            && w * (k).stride_w + j - (k).left >= 0 && w * (k).stride_w + j - (k).left < (from).width)
#define INSIDE(k, p) ((h * (k).stride_h + i - (k).top) * (p).row + (w * (k).stride_w + j - (k).left) * (p).pixel + c)

INLINE void pool(window k, place from, place to, const float *x, float *y) {
    FOR_VECTORS(to) {
        vec value = splat(k.is_max ? -INFINITY : 0);
        int count = 0;
        FOR_WINDOW(k, from) {
            const vec v = load(x + INSIDE(k, from));
            value = k.is_max ? choose(v > value, v, value) : value + v;
            count++;
        }
        if (!k.is_max) value = value * (1.0f / (k.counts_padding ? k.h * k.w : count));
        store(y + AT(to), value);
    }
}

/* A maximum's gradient goes to the first place that has it, as in torch. */
INLINE void pool_back(window k, place from, place to, place from_gradient, place to_gradient, const float *x, const float *y,
                      float *dx, const float *dy, int adds) {
    if (!adds) FOR_VECTORS(from_gradient) store(dx + AT(from_gradient), (vec){0});
    FOR_VECTORS(to) {
        const vec g = load(dy + AT(to_gradient));
        if (k.is_max) {
            const vec best = load(y + AT(to));
            mask taken = (mask){0};
            FOR_WINDOW(k, from) {
                const mask here = (load(x + INSIDE(k, from)) == best) & ~taken;
                taken |= here;
                put(dx + INSIDE(k, from_gradient), choose(here, g, (vec){0}), 1);
            }
        } else {
            int count = 0;
            FOR_WINDOW(k, from) count++;
            const vec share = g * (1.0f / (k.counts_padding ? k.h * k.w : count));
            FOR_WINDOW(k, from) put(dx + INSIDE(k, from_gradient), share, 1);
        }
    }
}

/* ---- batch norms: statistics over a batch, image by image ------------------------------------------------------------ */

/* Of one batch norm, an array of its channels each: what a batch's images have added up to so far, and what follows. */
typedef struct {
    double *mean, *squares, *sum_dy, *sum_dy_x;      /* squares: sum of squared distances to the mean */
    double count;
    float *center, *inverse, *scale, *shift, *slope, *offset;
} norm;

/* Several sums at a time, of pixels beside each other or of a pixel's vectors, since each addition waits for the one before:
 * an image's pixels are passed over once for BLOCK vectors of channels, WAYS pixels at a time. */
#define BLOCK(p) ((p).channels / LANES % 4 == 0 ? 4 : (p).channels / LANES % 2 == 0 ? 2 : 1)
#define WAYS(p) ((p).width % (4 / BLOCK(p)) == 0 ? 4 / BLOCK(p) : 1)
#define FOR_BLOCKS(p) for (int block = 0; block < (p).channels; block += BLOCK(p) * LANES)
#define FOR_WAYS(p)                                                                                             \
    for (int h = 0; h < (p).height; h++) for (int start = 0; start < (p).width; start += WAYS(p))               \
        UNROLL for (int k = 0; k < 4; k++) if (k < BLOCK(p) * WAYS(p))
#define WAY(p) (h * (p).row + (start + k / BLOCK(p)) * (p).pixel + block + k % BLOCK(p) * LANES)

/* The sum of all ways of a vector of channels. */
INLINE vec merged(place p, const vec *sums, int which) {
    vec sum = sums[which];
    for (int way = 1; way < WAYS(p); way++) sum += sums[way * BLOCK(p) + which];
    return sum;
}

/* Merge an image's mean and squared distances, found in two passes over its map, with those of the images before. */
INLINE void norm_add(place from, const float *x, norm *b) {
    const double pixels = from.height * from.width, total = b->count + pixels;
    FOR_BLOCKS(from) {
        vec sums[4] = {{0}}, squares[4] = {{0}}, mean[4];
        FOR_WAYS(from) sums[k] += load(x + WAY(from));
        UNROLL for (int k = 0; k < 4; k++) mean[k] = merged(from, sums, k % BLOCK(from)) * (float)(1 / pixels);
        FOR_WAYS(from) { const vec d = load(x + WAY(from)) - mean[k]; squares[k] += d * d; }
        for (int which = 0; which < BLOCK(from); which++) {
            const vec all = merged(from, squares, which);
            for (int lane = 0; lane < LANES; lane++) {
                const int c = block + which * LANES + lane;
                const double distance = mean[which][lane] - b->mean[c];
                b->mean[c] += distance * pixels / total;
                b->squares[c] += all[lane] + distance * distance * b->count * pixels / total;
            }
        }
    }
    b->count = total;
}

/* Factor and offset that a norm is, given center and 1 / deviation; NULL weights are ones, NULL biases zeros. */
static void norm_scales(norm *b, int channels, const float *weight, const float *bias) {
    for (int c = 0; c < channels; c++) {
        b->scale[c] = b->inverse[c] * (weight ? weight[c] : 1);
        b->shift[c] = (bias ? bias[c] : 0) - b->center[c] * b->scale[c];
    }
}

/* The statistics of a whole batch; running ones follow with torch's momentum, 0.1, the variance made unbiased. */
static void norm_finish(norm *b, int channels, float epsilon, const float *weight, const float *bias, float *running_mean,
                        float *running_var) {
    for (int c = 0; c < channels; c++) {
        b->center[c] = (float)b->mean[c];
        b->inverse[c] = (float)(1 / sqrt(b->squares[c] / b->count + epsilon));
        running_mean[c] = 0.9f * running_mean[c] + 0.1f * b->center[c];
        running_var[c] = 0.9f * running_var[c] + 0.1f * (float)(b->squares[c] / (b->count > 1 ? b->count - 1 : 1));
        b->mean[c] = b->squares[c] = 0;
    }
    b->count = 0;
    norm_scales(b, channels, weight, bias);
}

static void norm_evaluate(norm *b, int channels, float epsilon, const float *weight, const float *bias,
                          const float *running_mean, const float *running_var) {
    for (int c = 0; c < channels; c++) {
        b->center[c] = running_mean[c];
        b->inverse[c] = 1 / sqrtf(running_var[c] + epsilon);
        b->slope[c] = b->offset[c] = 0;
    }
    norm_scales(b, channels, weight, bias);
}

/* A norm, and the activation that reads it. */
INLINE void norm_apply(int kind, float constant, place from, place to, const float *x, float *y, const norm *b) {
    FOR_BLOCKS(to) {
        vec scale[4], shift[4];
        UNROLL for (int k = 0; k < 4; k++) {
            scale[k] = load(b->scale + block + k % BLOCK(to) * LANES);
            shift[k] = load(b->shift + block + k % BLOCK(to) * LANES);
        }
        FOR_WAYS(to) store(y + WAY(to), activation(kind, constant, load(x + WAY(from)) * scale[k] + shift[k]));
    }
}

/* The gradient to an activation becomes, in its place, that to the norm that it reads, whose sums it is added to. */
INLINE void norm_reduce(int kind, float constant, place x_place, place dy_place, const float *x, float *dy, norm *b) {
    FOR_BLOCKS(x_place) {
        vec sums[4] = {{0}}, with_x[4] = {{0}}, center[4], scale[4], shift[4];
        UNROLL for (int k = 0; k < 4; k++) {
            const int c = block + k % BLOCK(x_place) * LANES;
            center[k] = load(b->center + c), scale[k] = load(b->scale + c), shift[k] = load(b->shift + c);
        }
        FOR_WAYS(x_place) {
            const vec value = load(x + WAY(x_place)), before = value * scale[k] + shift[k];
            vec g = load(dy + WAY(dy_place));
            if (kind != IDENTITY) {
                g *= derivative(kind, constant, before, activation(kind, constant, before));
                store(dy + WAY(dy_place), g);
            }
            sums[k] += g;
            with_x[k] += g * (value - center[k]);
        }
        for (int which = 0; which < BLOCK(x_place); which++) {
            const vec all = merged(x_place, sums, which), all_with_x = merged(x_place, with_x, which);
            for (int lane = 0; lane < LANES; lane++) {
                b->sum_dy[block + which * LANES + lane] += all[lane];
                b->sum_dy_x[block + which * LANES + lane] += all_with_x[lane];
            }
        }
    }
}

/* Gradients to weight and bias (NULL where there are none); with a batch's statistics also what flows through these. */
static void norm_finish_back(norm *b, int channels, double count, float *to_weight, float *to_bias) {
    for (int c = 0; c < channels; c++) {
        if (to_bias) to_bias[c] += (float)b->sum_dy[c];
        if (to_weight) to_weight[c] += (float)(b->sum_dy_x[c] * b->inverse[c]);
        if (count > 0) {      /* dx = scale (dy - mean dy - normalized x · mean(dy · normalized x)), as one factor and offset */
            const double slope = b->sum_dy_x[c] / count * b->inverse[c] * b->inverse[c] * b->scale[c];
            b->slope[c] = (float)-slope;
            b->offset[c] = (float)(slope * b->center[c] - b->scale[c] * b->sum_dy[c] / count);
        }
        b->sum_dy[c] = b->sum_dy_x[c] = 0;
    }
}

INLINE void norm_back(place x_place, place dx_place, place dy_place, const float *x, float *dx, const float *dy, const norm *b,
                      int adds) {
    FOR_BLOCKS(x_place) {
        vec slope[4], offset[4], scale[4];
        UNROLL for (int k = 0; k < 4; k++) {
            const int c = block + k % BLOCK(x_place) * LANES;
            slope[k] = load(b->slope + c), offset[k] = load(b->offset + c), scale[k] = load(b->scale + c);
        }
        FOR_WAYS(x_place) {
            const vec through = load(x + WAY(x_place)) * slope[k] + offset[k];
            put(dx + WAY(dx_place), load(dy + WAY(dy_place)) * scale[k] + through, adds);
        }
    }
}
