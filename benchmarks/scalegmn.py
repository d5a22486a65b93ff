"""ScaleGMN's training step in units of one matrix product, its memory, and how both grow.

The unit is one `F.linear` on a 44,032 × 128 by 128 × 128 float32 product (the edges of a batch), timed in the same
process between the steps; figures are medians. Every model runs in a process of its own, so that peak memory (the
process's largest resident set, Python and torch included) is its own. The five models named as in the project's table
have the published models' readouts; the same with the other readout follow, as what is read at the end decides how much
of the last rounds is needed.

    python benchmarks/scalegmn.py [--models relu_forward …] [--repeats 7] [--compile] [--threads 2]
    python benchmarks/scalegmn.py --device cuda --bf16 --compile   # on a GPU; its own memory is counted there
    python benchmarks/scalegmn.py --growth          # 10² to 10⁶ edges in one network, forward
    python benchmarks/scalegmn.py --mixed-graphs     # 64 networks of 64 graphs against 64 of one
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.metanets import ScaleGMN, ScaleGMNConfig
from zoovet.networks import Graph, Networks, mlp, siren, small_cnn
from zoovet.symmetry import random_chain, random_networks

FOLDER = Path(__file__).parent / "results"
WIDTH, NUM_LAYERS, BATCH = 128, 4, 64
CNN = {"max_inputs": 1, "max_outputs": 10, "max_depth": 3, "max_kernel": (3, 3), "num_message_mlps": 2}
CNN |= {"num_update_mlps": 2, "skip_connections": False, "readout": "last_layer"}
INR = {"max_inputs": 2, "max_outputs": 1, "max_depth": 2, "max_kernel": (1, 1), "symmetry": "sign"}
INR |= {"readout": "last_layer"}
MODELS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "relu_forward": (CNN | {"symmetry": "scale", "direction": "forward"}, {"relu": 64}),
    "relu_bidirectional": (CNN | {"symmetry": "scale"}, {"relu": 64}),
    "tanh_forward": (CNN | {"symmetry": "sign", "direction": "forward", "readout": "full_graph"}, {"tanh": 64}),
    "mixed_forward": (CNN | {"symmetrize": False, "direction": "forward"}, {"relu": 32, "tanh": 32}),
    "mixed_bidirectional": (CNN | {"skip_connections": True}, {"relu": 32, "tanh": 32}),
    "siren_forward": (INR | {"direction": "forward"}, {"sine": 128}),
    "siren_bidirectional": (INR, {"sine": 128}),
}
MODELS |= {
    f"{name}_{readout}": (options | {"readout": readout}, batch)
    for name, (options, batch) in list(MODELS.items())[:5]
    for readout in ("full_graph", "last_layer")
    if options["readout"] != readout
}


def networks_of(activation: str, num_networks: int) -> Networks:
    """Random networks: the small CNN, or SIRENs."""
    graph = siren() if activation == "sine" else small_cnn(activation)
    generator = torch.Generator().manual_seed(0)
    return random_networks(graph, num_networks, generator, zero_fraction=0.0, dtype=torch.float32)


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Seconds until some work is done, on a GPU too."""
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def seconds_in_units(step: Callable[[], object], repeats: int, device: str = "cpu") -> tuple[float, float]:
    """Median seconds of a step, and the same in units."""
    rows, weight = torch.randn(44032, 128, device=device), torch.randn(128, 128, device=device)

    def unit() -> float:
        return seconds_of(lambda: F.linear(rows, weight), device)

    for _ in range(2):
        seconds_of(step, device)
        unit()
    steps, units = [], []
    for _ in range(repeats):
        units.append(unit())
        steps.append(seconds_of(step, device))
        units += [unit() for _ in range(3)]
    seconds = statistics.median(steps)
    return seconds, seconds / statistics.median(units)


def peak_memory_gb(device: str = "cpu") -> float:
    """Largest resident set of this process so far, or the most that it held on its GPU."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def training_step(model: nn.Module, networks: Any) -> Any:
    """One step as a function: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    targets = torch.randn(sum(map(len, networks)), 1, device=networks[0].weights[0].device)

    def step() -> None:
        optimizer.zero_grad()
        F.mse_loss(model(networks), targets).backward()
        optimizer.step()

    return step


def compiled(model: nn.Module, networks: Any, device: str) -> nn.Module:
    """The model compiled (with CUDA graphs on a GPU), or itself where that fails, saying so."""
    try:
        faster = torch.compile(model, mode="default" if device == "cpu" else "reduce-overhead")
        faster(networks)
    except Exception as error:  # whatever compilation raises: a missing compiler, an unsupported operation
        print(f"compilation failed ({type(error).__name__}: {error}); timing the model as it is")
        return model
    return faster


def deviation_from_float64(model: nn.Module, networks: Sequence[Networks], infer: Callable[[], Tensor]) -> float:
    """Largest deviation of the outputs from those of the same model in float64, over the largest of them."""
    exact = copy.deepcopy(model).double()
    with torch.no_grad():
        expected = exact([part.to(dtype=torch.float64) for part in networks])
    return float((infer().double() - expected).abs().max() / expected.abs().max())


def run_model(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One model's figures."""
    options, batch = MODELS[name]
    device, repeats = arguments.device, arguments.repeats
    torch.manual_seed(0)
    plain = ScaleGMN(ScaleGMNConfig(width=WIDTH, num_layers=NUM_LAYERS, **options)).to(device)
    networks = [networks_of(activation, count).to(device) for activation, count in batch.items()]
    model = compiled(plain, networks, device) if arguments.compile else plain
    precision = torch.autocast(device, dtype=torch.bfloat16, enabled=arguments.bf16)
    train = training_step(model, networks)

    def step() -> None:
        with precision:
            train()

    seconds, units = seconds_in_units(step, repeats, device)
    peak = peak_memory_gb(device)

    def infer() -> Tensor:
        with torch.no_grad(), precision:
            output: Tensor = model(networks)
            return output

    inference, _ = seconds_in_units(infer, repeats, device)
    return {
        "model": name,
        "units": round(units, 1),
        "peak_memory_gb": round(peak, 2),
        "step_ms": round(seconds * 1e3, 1),
        "inference_networks_per_second": round(sum(batch.values()) / inference, 1),
        "readout": options.get("readout", "full_graph"),
        "threads": torch.get_num_threads(),
        "compiled": model is not plain,
        "device": device if device == "cpu" else torch.cuda.get_device_name(),
        "precision": "bfloat16" if arguments.bf16 else "float32",
        "deviation_from_float64": float(f"{deviation_from_float64(plain, networks, infer):.1e}"),
    }


def num_edges(graph: Graph) -> int:
    """Edges of a network's graph."""
    return sum(layer.in_channels * layer.out_channels for layer in graph.chain.layers)


def run_mixed_graphs(repeats: int) -> dict[str, Any]:
    """Seconds per edge of 64 networks of 64 graphs, over those of 64 networks of one."""
    generator = torch.Generator().manual_seed(0)
    graphs = [random_chain(generator, kernels=(1, 3, 5), activations=("relu",)) for _ in range(BATCH)]
    mixed = [random_networks(graph, 1, generator, dtype=torch.float32) for graph in graphs]
    uniform = [networks_of("relu", BATCH)]
    per_edge = []
    for networks in (mixed, uniform):
        torch.manual_seed(0)
        config = ScaleGMNConfig.for_graphs(
            [*graphs, small_cnn()], width=WIDTH, num_layers=NUM_LAYERS, symmetry="scale", readout="full_graph"
        )
        seconds, _ = seconds_in_units(training_step(ScaleGMN(config), networks), repeats)
        per_edge.append(seconds / sum(num_edges(part.graph) * len(part) for part in networks))
    return {"model": "mixed_graphs", "seconds_per_edge_over_uniform": round(per_edge[0] / per_edge[1], 2)}


def run_growth(size: int) -> dict[str, Any]:
    """Forward pass of one network with ``size`` hidden neurons in each of two layers."""
    graph = mlp((2, size, size, 2), "relu")
    networks = random_networks(graph, 1, torch.Generator().manual_seed(0), dtype=torch.float32)
    model = ScaleGMN(ScaleGMNConfig(width=WIDTH, num_layers=NUM_LAYERS, symmetry="scale"))
    start = time.perf_counter()
    with torch.no_grad():
        model(networks)
    seconds = time.perf_counter() - start
    return {
        "edges": num_edges(graph),
        "forward_seconds": round(seconds, 3),
        "peak_memory_gb": round(peak_memory_gb(), 2),
    }


def in_own_process(arguments: list[str]) -> dict[str, Any]:
    """Run this script with ``--child`` and read its last line."""
    command = [sys.executable, __file__, "--child", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    *messages, result = done.stdout.strip().splitlines()
    print("\n".join([*messages, result]))
    figures: dict[str, Any] = json.loads(result)
    return figures


def write(name: str, figures: list[dict[str, Any]]) -> None:
    """Write the figures; those of models that did not run now stay as they were."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / name
    path.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"written to {path}")


def child(arguments: argparse.Namespace) -> dict[str, Any]:
    """What one process measures."""
    if arguments.growth:
        return run_growth(arguments.size)
    if arguments.mixed_graphs:
        return run_mixed_graphs(arguments.repeats)
    return run_model(arguments.models[0], arguments)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="compile the models; says so where that fails")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--mixed-graphs", action="store_true")
    parser.add_argument("--size", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.child:
        print(json.dumps(child(arguments)))
        return
    common = ["--repeats", str(arguments.repeats), "--threads", str(arguments.threads)]
    if arguments.growth:
        figures = [in_own_process([*common, "--growth", "--size", str(size)]) for size in (8, 30, 98, 314, 998)]
        write("scalegmn_growth.json", figures)
    elif arguments.mixed_graphs:
        write("scalegmn_mixed_graphs.json", [in_own_process([*common, "--mixed-graphs"])])
    else:
        common += ["--compile"] * arguments.compile + ["--bf16"] * arguments.bf16 + ["--device", arguments.device]
        figures = [in_own_process([*common, "--models", name]) for name in arguments.models]
        if set(arguments.models) == set(MODELS):
            write("scalegmn.json" if arguments.device == "cpu" else "scalegmn_gpu.json", figures)


if __name__ == "__main__":
    main()
