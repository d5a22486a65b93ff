"""The C file of one graph: a function for each sort of operation in it, and the steps of a batch and of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from zoovet.networks import INPUT, Graph
from zoovet.zoo.native.graph_lanes import lanes_of, padded
from zoovet.zoo.native.graph_memory import kept_sites, shared_gradients, with_cheap_values_recomputed
from zoovet.zoo.native.graph_plan import SitePlaces, needed_operations, site_places
from zoovet.zoo.native.graph_runs import OperationRun, RunSteps, operation_runs
from zoovet.zoo.native.graph_steps import Barrier, Emitter, Step
from zoovet.zoo.native.graph_unweighted import UNWEIGHTED
from zoovet.zoo.native.graph_weighted import WEIGHTED
from zoovet.zoo.native.libraries import NativeUnavailable

__all__ = ["graph_source", "trained_ranges"]

_OPERATIONS = {**WEIGHTED, **UNWEIGHTED}

_STRUCT = """struct workspace {
    float *values[NUM_SITES], *gradients[NUM_SITES], *packed, *packed_gradients, *flat_gradients, *norm_floats, *flat;
    double *norm_doubles, loss;
    float keep;
    uint32_t seed;
    norm norms[NUM_NORMS + 1];
    const samples *of;
    long start, count;
};
#define V(k) (s->values[k] + n * VALUE_STRIDE[k] + VALUE_START[k])
#define G(k) (s->gradients[k] + n * GRADIENT_STRIDE[k] + GRADIENT_START[k])
"""


@dataclass
class _Steps:
    """Steps of a batch in order, and what one image needs without a batch."""

    batch: Sequence[Step | Barrier]
    evaluate: Sequence[str]
    back: Sequence[str]


def graph_source(graph: Graph, *, drops: bool = False) -> str:
    """The constants and functions that ``graph_trainer.c`` includes.

    Args:
        graph: What is compiled.
        drops: Whether a training may drop values behind activations.

    Raises:
        NativeUnavailable: The C code lacks an operation of the graph, or a setting of it; the message names it.
    """
    shape = graph.output_shape
    if len(shape) != 1 or graph.answers != "logits":
        raise NativeUnavailable(f"it wants a vector of logits at the end, not {list(shape)} {graph.answers}")
    for name in needed_operations(graph):
        operation = graph.makers[name]
        if operation.op not in _OPERATIONS:
            raise NativeUnavailable(f"it does not know the operation {operation.describe()}")
    places = site_places(graph)
    emitter = Emitter(graph, places, drops=drops)
    steps, lanes = _steps(graph, emitter), lanes_of(graph)
    return "\n".join(
        [
            f"#ifndef LANES\n#define LANES (MOST_LANES < {lanes} ? MOST_LANES : {lanes})\n#else",
            *_constants(graph, places, emitter),
            _table("VALUE", [place.value.size for place in places.values()]),
            _table("GRADIENT", [place.gradient.size for place in places.values()]),
            *_memory(steps.batch, places),
            _STRUCT,
            *emitter.functions,
            _body("pack(workspace *s)", emitter.packing),
            _body("unpack(workspace *s)", emitter.unpacking),
            _body("train_batch(workspace *s)", _loops(steps.batch)),
            _body("prepare_evaluation(workspace *s)", emitter.before_evaluation),
            _body("evaluate_image(workspace *s)", ["const long n = 0;", *steps.evaluate]),
            _body("evaluate_back(workspace *s)", ["const long n = 0;", *steps.back]),
            _body("finish_evaluation(workspace *s)", emitter.after_evaluation),
            "#endif\n",
        ]
    )


def trained_ranges(graph: Graph) -> list[tuple[int, int]]:
    """Start and end, in a flat vector, of the parameters that a training changes by gradients."""
    statistics = {
        name
        for operation in graph.operations
        for role, name in operation.parameters.items()
        if role in ("running_mean", "running_var")
    }
    ranges: list[tuple[int, int]] = []
    start = 0
    for parameter in graph.parameters:
        end = start + parameter.num_numbers
        if not parameter.is_constant and parameter.name not in statistics:
            if ranges and ranges[-1][1] == start:
                ranges[-1] = (ranges[-1][0], end)
            else:
                ranges.append((start, end))
        start = end
    return ranges


def _steps(graph: Graph, emitter: Emitter) -> _Steps:
    places, names = emitter.places, needed_operations(graph)
    image, logits = places[INPUT].number, places[graph.output].number
    runs = operation_runs(graph, names, emitter.fused)
    last = max(run.makes for run in runs.values())
    put = Step(f"put_image(s, n, V({image}));", makes=image)
    forward = RunSteps(last + 1)
    forward.add(0, put)
    evaluate, cheap = [put.text], dict[int, list[Step]]()
    for name in names:
        operation, number, run = graph.makers[name], places[emitter.fused.get(name, name)].number, runs[name]
        for step in _OPERATIONS[operation.op].forward(emitter, operation):
            if isinstance(step, Barrier):
                forward.end(run.reads, step)
                continue
            if step.is_of_batch:
                forward.add(run.reads, step)
                continue
            step = replace(step, makes=number)
            forward.add(run.makes, step)
            evaluate.append(step.text)
            if operation.op not in WEIGHTED or operation.op == "batch_norm":
                cheap.setdefault(number, []).append(step)
    forward.add(last, Step(f"s->loss += loss(s, n, V({logits}), G({logits}));"), at_end=True)
    steps = with_cheap_values_recomputed(forward.in_order(), _batch_backward(graph, emitter, names, runs), cheap)
    return _Steps(steps, evaluate, _image_backward(graph, emitter, names))


def _batch_backward(
    graph: Graph, emitter: Emitter, names: Sequence[str], runs: Mapping[str, OperationRun]
) -> list[Step | Barrier]:
    """A norm's sums are added to when all that read it gave their gradients; it gives its own a run or more later."""
    last = max(run.makes for run in runs.values())
    backward, written = RunSteps(last + 1), set[str]()
    last_first = list(reversed(names))
    for name in sorted(last_first, key=lambda name: -runs[name].reads):
        operation, run = graph.makers[name], runs[name]
        made = _OPERATIONS[operation.op].backward(emitter, operation, written, True)
        is_reduced = any(isinstance(step, Barrier) for step in made)
        for step in made:
            if isinstance(step, Barrier):
                backward.end(last - run.makes, step)
                is_reduced = False
            else:
                backward.add(last - (run.makes if is_reduced else run.reads), step, at_end=is_reduced)
    return backward.in_order()


def _image_backward(graph: Graph, emitter: Emitter, names: Sequence[str]) -> list[str]:
    written = set[str]()
    made = [
        step
        for name in reversed(names)
        for step in _OPERATIONS[graph.makers[name].op].backward(emitter, graph.makers[name], written, False)
    ]
    return [step.text for step in made if isinstance(step, Step)]


def _constants(graph: Graph, places: Mapping[str, SitePlaces], emitter: Emitter) -> list[str]:
    image = places[INPUT]
    ranges = trained_ranges(graph)
    channels = [padded(count, lanes_of(graph)) for count in emitter.norm_channels]
    numbers = {
        "NUM_SITES": len(places),
        "NUM_PARAMETERS": graph.num_parameters,
        "NUM_PACKED": emitter.num_packed,
        "NUM_NORMS": len(channels),
        "NUM_NORM_CHANNELS": sum(channels),
        "NUM_TRAINED": len(ranges),
        "NUM_CLASSES": graph.output_shape[0],
        "OUTPUT": places[graph.output].number,
        "IMAGE_CHANNELS": image.value.channels,
        "IMAGE_HEIGHT": image.value.height,
        "IMAGE_WIDTH": image.value.width,
        "IMAGE_SIZE": f"{image.value.channels * image.value.height * image.value.width}L",
        "IMAGE_ROW": image.value.row,
        "IMAGE_PIXEL": image.value.pixel,
        "IMAGE_GRADIENT_ROW": image.gradient.row,
        "IMAGE_GRADIENT_PIXEL": image.gradient.pixel,
    }
    return [
        *(f"#define {name} {value}" for name, value in numbers.items()),
        f"static const int NORM_CHANNELS[] = {{{', '.join(map(str, [*channels, 0]))}}};",
        f"static const long TRAINED[][2] = {{{', '.join(f'{{{start}, {end}}}' for start, end in [*ranges, (0, 0)])}}};",
        f"static const long VALUE_START[] = {{{_numbers([place.value.start for place in places.values()])}}};",
        f"static const long GRADIENT_START[] = {{{_numbers([place.gradient.start for place in places.values()])}}};",
    ]


def _memory(steps: Sequence[Step | Barrier], places: Mapping[str, SitePlaces]) -> list[str]:
    """Floats from image to image, 0 for a site that has room for one; and whose memory a site's gradients use."""
    tables = []
    for letter, name in (("V", "VALUE"), ("G", "GRADIENT")):
        kept = kept_sites(letter, steps)
        sizes = [place.value.size if letter == "V" else place.gradient.size for place in places.values()]
        strides = [size if number in kept else 0 for number, size in enumerate(sizes)]
        tables.append(f"static const long {name}_STRIDE[] = {{{_numbers(strides)}}};")
    owners = shared_gradients(steps, {place.number: place.gradient for place in places.values()})
    return [*tables, f"static const int GRADIENT_OWNER[] = {{{_numbers(owners)}}};"]


def _loops(steps: Sequence[Step | Barrier]) -> list[str]:
    """Steps image by image. Each barrier turns the order: a run begins with what the one before left in the cache."""
    starts = ("for (long n = 0; n < s->count; n++) {", "for (long n = s->count - 1; n >= 0; n--) {")
    lines, runs = [starts[0]], 1
    for step in steps:
        if isinstance(step, Barrier):
            lines += ["}", step.text, starts[runs % 2]]
            runs += 1
        else:
            lines.append(f"    {step.text}")
    return [*lines, "}"]


def _table(name: str, sizes: Sequence[int]) -> str:
    return f"static const long {name}_SIZE[] = {{{_numbers(sizes)}}};"


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _body(head: str, lines: Sequence[str]) -> str:
    return "\n".join([f"static void {head} {{", *(f"    {line}" for line in lines), "}"])
