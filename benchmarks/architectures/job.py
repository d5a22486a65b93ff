"""One row of the table: an architecture read in three ways, moved by its symmetries, and put through ScaleGMN."""

from __future__ import annotations

import copy
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

import zoovet
from networks import ARCHITECTURES, Architecture, drawn
from zoovet import Images, ScaleGMN, ScaleGMNConfig, ZoovetError
from zoovet.metanets.graph_structure import graph_structure
from zoovet.networks import Networks, run
from zoovet.symmetry import GraphSymmetry, graph_symmetry, random_action
from zoovet.symmetry.checked_networks import with_other_weights
from zoovet.symmetry.graph_symmetry import find_symmetry
from zoovet.symmetry.laws import LAWS, Law, Step

__all__ = ["row_of"]

Row = dict[str, Any]
Found = TypeVar("Found")
SETTINGS: tuple[tuple[float, dict[str, Any], dict[str, Any]], ...] = (
    (2e6, {"width": 32, "num_layers": 4}, {"width": 8, "num_layers": 4}),
    (5e6, {}, {"width": 8, "num_layers": 2}),
    (1e9, {}, {"width": 4, "num_layers": 1}),
)
"""Up to as many edges, ScaleGMN's settings for cost (float32) and for exactness (float64), both where alone."""
MAX_OPSET = 17
MAX_ROUNDING = 3e-6
"""A network whose own rounding is above this is drawn with milder batch norms: it would hide what reading does."""


def measured(work: Callable[[], Found]) -> tuple[Found, dict[str, float]]:
    """What some work gives, with its seconds and the process's largest resident set meanwhile, in GB."""
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()
    kilobytes = int(status.split("VmHWM:")[1].split()[0])
    return result, {"seconds": round(seconds, 3), "gb": round(kilobytes * 1024 / 1e9, 2)}


def deviation(value: Tensor, expected: Tensor) -> float:
    """Largest deviation, relative to the largest number expected."""
    found = float((value - expected).abs().max() / expected.abs().max())
    return float(f"{found:.1e}")


def own_rounding(module: nn.Module, images: Tensor) -> float:
    """How far a module in float32 is from itself in float64."""
    with torch.no_grad():
        return deviation(module(images), copy.deepcopy(module).double()(images.double()))


def row_of(name: str, keep: Callable[[Row], None]) -> None:
    """Work out a row; what is known so far is handed over after every step, so that a later one may fail."""
    architecture = ARCHITECTURES[name]
    warnings.simplefilter("ignore")
    images = torch.randn(2, *architecture.shape, generator=torch.Generator().manual_seed(1))
    module = drawn(architecture)
    is_mild = own_rounding(module, images) > MAX_ROUNDING
    module = drawn(architecture, is_mild=True) if is_mild else module
    zoovet.from_module(nn.Linear(2, 2), (2,))  # what tracing needs is imported before it counts
    with torch.no_grad():
        module(images)
        expected, own = measured(lambda: module(images))
    row: Row = {"title": architecture.title, "shape": list(architecture.shape)}
    row |= {"parameters": sum(tensor.numel() for tensor in module.parameters()), "module": own}
    row |= {"own_rounding": own_rounding(module, images), "is_mild": is_mild}
    networks = _read_module(module, architecture, images, expected, row)
    keep(row)
    _read_files(module, architecture, images, expected, row, keep)
    if networks is None:
        return
    row["symmetry"] = _symmetry(networks, images)
    keep(row)
    _scalegmn(networks, row, keep)


def _read_module(
    module: nn.Module, architecture: Architecture, images: Tensor, expected: Tensor, row: Row
) -> Networks | None:
    """The graph and its weights; ``None`` where no graph can say what the network does."""
    network, cost = measured(lambda: zoovet.from_module(module, architecture.shape))
    row["read"] = {"module": cost}
    if network.networks is None:
        row["beyond"] = network.beyond
        return None
    networks = network.networks
    with torch.no_grad():
        run(networks, images)  # once before it counts
        answers, cost = measured(lambda: run(networks, images)[0])
    row["run"] = cost
    row["read"]["module"]["deviation"] = deviation(answers, expected)
    return networks


def _read_files(
    module: nn.Module,
    architecture: Architecture,
    images: Tensor,
    expected: Tensor,
    row: Row,
    keep: Callable[[Row], None],
) -> None:
    """The same network from its ONNX export and from its state dict."""
    channels, height, width = architecture.shape
    pixels = np.zeros((1, height, width, channels), dtype=np.uint8)
    reference = Images.from_arrays(pixels if channels > 1 else pixels[..., 0])
    with tempfile.TemporaryDirectory() as folder:
        onnx, weights = Path(folder) / "network.onnx", Path(folder) / "network.pth"
        for way, path in (("onnx", onnx), ("state_dict", weights)):
            named = None if way == "onnx" else architecture.reading
            try:
                _export(module, images, onnx) if way == "onnx" else torch.save(module.state_dict(), weights)
            except torch.onnx.errors.OnnxExporterError as error:
                row["read"][way] = {"refused": f"torch cannot write it: {str(error).splitlines()[0]}"}
                continue
            try:
                network, cost = measured(lambda path=path, named=named: zoovet.read(path, named, images=reference))
            except ZoovetError as error:
                row["read"][way] = {"refused": str(error).replace(f"{folder}/", "")}
                keep(row)
                continue
            if network.networks is None:
                row["read"][way] = {**cost, "beyond": network.beyond}
            else:
                with torch.no_grad():
                    answers = run(network.networks, images)[0]
                row["read"][way] = {**cost, "deviation": deviation(answers, expected)}
            path.unlink()
            keep(row)


def _export(module: nn.Module, images: Tensor, path: Path) -> None:
    """By torch's own exporter; the number of images stays open."""
    torch.backends.mha.set_fastpath_enabled(False)
    torch.onnx.export(
        module,
        (images,),
        str(path),
        dynamo=False,
        opset_version=MAX_OPSET,
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
    )


def _symmetry(networks: Networks, images: Tensor) -> Row:
    """What may be done to the channels of layers, what is fixed by which operations; that actions keep the function."""
    graph = networks.graph
    symmetry, cost = measured(lambda: graph_symmetry(graph))
    layers = [one.output for one in graph.operations if one.op in ("conv2d", "linear") and one.output != graph.output]
    slots = np.concatenate([symmetry.site_slots(site) for site in layers] or [np.empty(0, dtype=np.int64)])
    answers = symmetry.scale_class[symmetry.site_slots(graph.output)]
    slots = slots[~np.isin(symmetry.scale_class[slots], answers)]  # a convolution may make them, ahead of a pooling
    moves, scales = symmetry.moves[slots], symmetry.allowed[symmetry.scale_class[slots]] != 0
    exact = networks.to(dtype=torch.float64)
    pixels = images.double()
    action = random_action(graph, 1, torch.Generator().manual_seed(2))
    with torch.no_grad():
        before = run(exact, pixels)[0]
        moved = action(exact)
        after = run(moved, pixels)[0]
        other = run(with_other_weights(exact, torch.Generator().manual_seed(3)), pixels)[0]
    return {
        **cost,
        "channels": len(slots),
        "permuted": int(moves.sum()),
        "scaled": int(scales.sum()),
        "fixed": int((~moves & ~scales).sum()),
        "sites": len(layers),
        "sites_without_channels": sum(site not in symmetry.starts for site in layers),
        "fixed_by": _fixed_by(symmetry),
        "deviation": deviation(after, before),
        "signal": deviation(other, before),
    }


def _fixed_by(symmetry: GraphSymmetry) -> list[str]:
    """The operations whose laws fixed something, whatever else is fixed in consequence."""
    found: set[str] = set()

    def noting(law: Law) -> Law:
        def noted(step: Step) -> None:
            before = step.ties.num_fixed
            law(step)
            if step.ties.num_fixed > before:
                found.add(step.operation.op)

        return noted

    laws = {one.op: noting(LAWS[one.op]) for one in symmetry.graph.operations if one.op in LAWS}
    find_symmetry(symmetry.graph, laws)
    without = {one.op for one in symmetry.graph.operations if one.op not in LAWS}
    return sorted(found | {f"{op} (no law)" for op in without})


def _scalegmn(networks: Networks, row: Row, keep: Callable[[Row], None]) -> None:
    """Its cost in float32, and in float64 how far its output moves with the channels."""
    structure, cost = measured(lambda: graph_structure(networks.graph))
    edges = sum(block.cells * block.num_targets * block.num_sources for block in structure.blocks)
    cheap, exact = next(pair for limit, *pair in SETTINGS if edges <= limit)
    row["scalegmn"] = {"edges": edges, "structure": cost, "settings": cheap or exact, "exact_settings": exact}
    keep(row)
    with torch.no_grad():
        if cheap:
            cheaper = scalegmn(**cheap)
            _, row["scalegmn"]["cost"] = measured(lambda: cheaper(networks))
            keep(row)
        model, doubled = scalegmn(**exact).double(), networks.to(dtype=torch.float64)
        before, cost = measured(lambda: model(doubled))
        row["scalegmn"].setdefault("cost", cost)
        keep(row)
        moved = random_action(networks.graph, 1, torch.Generator().manual_seed(2))(doubled)
        row["scalegmn"]["deviation"] = deviation(model(moved), before)
        keep(row)
        if edges <= SETTINGS[0][0]:
            other = with_other_weights(doubled, torch.Generator().manual_seed(3))
            row["scalegmn"]["signal"] = deviation(model(other), before)
            keep(row)


def scalegmn(**options: Any) -> ScaleGMN:
    """One with random parameters, bidirectional where nothing else is said."""
    config = ScaleGMNConfig(hidden_width=max(8, options["width"]), num_outputs=8, **options)
    return ScaleGMN(config, torch.Generator().manual_seed(0)).eval()
