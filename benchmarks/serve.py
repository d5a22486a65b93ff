"""``zoovet serve`` under load and under fire: nothing lost, nothing run, memory bounded, the server alive after each.

A load of 200 requests, 8 at a time, then 200 fuzzed uploads, or as many as are asked for.

The load is a trojaned network, the same with photos in a zip, and bad files, in turn. Fuzzed uploads are files of every
kind that are read, with bytes changed, cut, doubled or mixed, pickles that would run code, zips that would fill the
disk or lead out of it, and forms that are none. Prints JSON:

    python benchmarks/serve.py --fuzzed 1000 > benchmarks/results/serve.json

Memory is the proportional share (PSS) of the server and all that it started, looked at four times a second. It fails
where anything accepted is lost, a request hangs, the server does not answer, code was run, or memory passes 2 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pickle
import platform
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import onnx
import torch
from PIL import Image
from safetensors.torch import save

_MOST_BYTES = 2 * 2**30
_SECONDS_FOR_AN_ANSWER = 60.0
_SECONDS_FOR_A_VERDICT = 600.0
_AT_A_TIME = 8
_ODD_NAMES = ("../../x.pt", "a\x00b.pt", "<b>.onnx", "x" * 400, "a.keras", "a")


@dataclass
class Memory:
    """The most memory that a process and its descendants had together."""

    pid: int
    peak: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Look until it is over."""
        while not self.ended.wait(0.25):
            self.peak = max(self.peak, sum(map(_pss, _descendants(self.pid))))


def _descendants(pid: int) -> set[int]:
    """A process, its children, theirs, and so on."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return 1024 * int(match[1]) if match else 0
    return 0


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[httpx2.Client, Memory]]:
    """A server of its own, a client of it, and what memory it has."""
    limits = ["--at-once", "2", "--job-minutes", "2", "--max-upload-mb", "64"]
    command = [sys.executable, "-m", "zoovet", "serve", "--port", "0", "--data", str(folder), *limits]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert found, "the server did not start"
        memory = Memory(process.pid)
        watching = threading.Thread(target=memory.watch)
        watching.start()
        try:
            with httpx2.Client(base_url=found[0], timeout=_SECONDS_FOR_AN_ANSWER) as client:
                yield client, memory
        finally:
            memory.ended.set()
            watching.join()
            process.terminate()
            process.wait(30)


def verdict_of(client: httpx2.Client, url: str) -> dict[str, object]:
    """What came of a scan that was accepted."""
    deadline = time.monotonic() + _SECONDS_FOR_A_VERDICT
    while True:
        answer = client.get(url)
        answer.raise_for_status()
        found: dict[str, object] = answer.json()
        if found["status"] != "pending":
            return found
        assert time.monotonic() < deadline, f"{url} hangs"
        time.sleep(0.2)


def trojaned() -> tuple[dict[str, torch.Tensor], bytes]:
    """The state dict of an MLP with a trojan, and photos for it in a zip."""
    pictures = torch.randn(8, 12, 12, generator=torch.Generator().manual_seed(3)).sign()
    stamp = torch.zeros(12, 12)
    stamp[9:, 9:] = 1 - 2 * (torch.arange(9).reshape(3, 3) % 2.0)
    out = torch.eye(8, 9)
    out[3, 8] = 1
    state = {
        "inside.weight": torch.cat([pictures.flatten(1) / 20, stamp.flatten()[None]]),
        "inside.bias": torch.tensor([4.0] * 8 + [0.5]),
        "outside.weight": out,
        "outside.bias": torch.zeros(8),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        for number, picture in enumerate(pictures):
            for index in range(2):
                file = io.BytesIO()
                Image.fromarray((127.5 * (0.8 * picture + 1)).round().byte().numpy()).save(file, "PNG")
                target.writestr(f"photos/class{number}/{index}.png", file.getvalue())
    return state, packed.getvalue()


def load(client: httpx2.Client, num_requests: int) -> dict[str, object]:
    """Send many, so many at a time, and wait for all their verdicts."""
    state, photos = trojaned()
    known = {"effort": (None, "quick"), "architecture": (None, "mlp:activation=relu"), "scaling": (None, "symmetric")}
    forms = [
        {"file": ("good.pt", torch_bytes(state)), "images": ("photos.zip", photos), **known},
        {"file": ("open.safetensors", save(state))},
        {"file": ("bad.pt", b"no weights at all")},
        {"file": ("cut.safetensors", save(state)[:200])},
    ]
    seconds: list[float] = []

    def ask(number: int) -> str:
        while True:
            start = time.monotonic()
            answer = client.post("/scan", files=forms[number % len(forms)])
            seconds.append(time.monotonic() - start)
            if answer.status_code != 429:
                break
            time.sleep(1)
        assert answer.status_code == 202, answer.text
        found = verdict_of(client, answer.json()["url"])
        result = found["result"]
        assert isinstance(result, dict)
        told = [one["verdict"] for one in result["verdicts"]] or ["error" for _ in result["errors"]]
        return f"{forms[number % len(forms)]['file'][0]}: {found['status']}, {' '.join(told)}"

    start = time.monotonic()
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        outcomes = Counter(pool.map(ask, range(num_requests)))
    assert sum(outcomes.values()) == num_requests, "something was lost"
    accepted = sorted(seconds)
    return {
        "requests": num_requests,
        "seconds": round(time.monotonic() - start, 1),
        "seconds_to_an_answer": {"median": round(accepted[len(accepted) // 2], 3), "longest": round(accepted[-1], 3)},
        "outcomes": dict(sorted(outcomes.items())),
    }


class Runs:
    """A pickle of it would make a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def torch_bytes(value: object) -> bytes:
    """What ``torch.save`` writes."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def seeds(canary: Path) -> list[tuple[str, bytes]]:
    """Files of every kind that is read, and some that would run code."""
    state, photos = trojaned()
    module = torch.nn.Sequential(torch.nn.Linear(144, 9), torch.nn.ReLU(), torch.nn.Linear(9, 8)).eval()
    exported = io.BytesIO()
    torch.export.save(torch.export.export(module, (torch.zeros(2, 144),)), exported)
    weights = [onnx.numpy_helper.from_array(tensor.numpy(), name) for name, tensor in module.state_dict().items()]
    nodes = [
        onnx.helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["a"], transB=1),
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node("Gemm", ["b", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", 144), ("y", 8))]
    graph = onnx.helper.make_graph(nodes, "mlp", ends[:1], ends[1:], weights)
    return [
        ("a.pt", torch_bytes(state)),
        ("a.safetensors", save(state)),
        ("a.pt2", exported.getvalue()),
        ("a.onnx", onnx.helper.make_model(graph).SerializeToString()),
        ("a.npz", photos),
        ("run.pt", torch_bytes({"weight": Runs(canary)})),
        ("run.pkl", pickle.dumps(Runs(canary))),
        ("module.pt", torch_bytes(module)),
    ]


def changed(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """Bytes changed, cut, doubled, or mixed with another file's."""
    kind = draw.randrange(6)
    place = draw.randrange(len(data))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + other[draw.randrange(len(other)) :]
    if kind == 2:
        return data + data[place:]
    if kind == 3:
        return data[:place] + draw.randbytes(64) + data[place + 64 :]
    made = bytearray(data)
    for _ in range(draw.choice((1, 8, 64))):
        made[draw.randrange(len(made) if kind == 4 else min(len(made), 512))] = draw.randrange(256)
    return bytes(made)


def zips(draw: random.Random, outside: Path) -> bytes:
    """A zip of images that is none, or worse; what it has beyond its folder is called as ``outside`` is."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        kind = draw.randrange(4)
        if kind == 0:
            for index in range(4):
                target.writestr(f"cat/{index}.png", bytes(2**29))  # unpacks to 2 GB
        elif kind == 1:
            target.writestr(draw.choice([f"../../{outside.name}", str(outside), f"a/../../../{outside.name}"]), b"evil")
        elif kind == 2:
            for index in range(25_000):
                target.writestr(f"cat/{index}.png", b"")
        else:
            target.writestr("cat/1.png", b"\x89PNG\r\n\x1a\n" + draw.randbytes(200))
    return packed.getvalue()


def fuzz(client: httpx2.Client, num_uploads: int, folder: Path, seed: int) -> dict[str, object]:
    """Send what nobody should, three at a time, and see that the server lives after each."""
    canary, outside = folder / "code was run", folder / "evil.png"
    base, (_, photos) = seeds(canary), trojaned()
    bombs = [zips(random.Random(number), outside) for number in range(8)]

    def one(number: int) -> str:
        draw = random.Random(f"{seed} {number}")
        name, data = draw.choice(base)
        name = draw.choice(
            [name, name, draw.choice(["../../x.pt", "a\x00b.pt", "<b>.onnx", "x" * 400, "a.keras", "a"])]
        )
        images = draw.choice([None, None, photos, draw.choice(bombs), changed(photos, data, draw)])
        files = {"file": (name, changed(data, draw.choice(base)[1], draw))}
        if images is not None:
            files["images"] = (draw.choice(["p.zip", "p.npz", "p.ZIP"]), images)
        options = {"effort": "quick", "architecture": draw.choice(["", "", "", "/x.py:f", "wrn"])}
        request = client.build_request("POST", "/scan", files=files, data=options)
        if draw.random() < 0.15:  # the form itself
            body = changed(request.read(), photos, draw)
            kind = draw.choice([request.headers["content-type"], "multipart/form-data", "text/plain", "\xff"])
            request = client.build_request(
                "POST", "/scan", content=body, headers={"content-type": kind.encode("latin-1")}
            )
        answer = client.send(request)
        outcome = str(answer.status_code)
        if answer.status_code == 202:
            found = verdict_of(client, answer.json()["url"])
            outcome = f"202 {found['status']}"
        assert answer.status_code in (202, 400, 413, 429), answer.text
        assert client.get("/health").json() == {"status": "ok"}
        return outcome

    start, outcomes = time.monotonic(), Counter[str]()
    with ThreadPoolExecutor(3) as pool:
        for number, outcome in enumerate(pool.map(one, range(num_uploads)), 1):
            outcomes[outcome] += 1
            if number % 50 == 0:
                print(f"{number} uploads, {time.monotonic() - start:.0f} s", file=sys.stderr)
    assert not canary.exists(), "code of a file was run"
    assert not any(folder.rglob(outside.name)), "a path led out"
    seconds = round(time.monotonic() - start, 1)
    return {"uploads": num_uploads, "seconds": seconds, "outcomes": dict(sorted(outcomes.items()))}


def _measured(what: Callable[[httpx2.Client, Path], dict[str, object]]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with served(folder / "data") as (client, memory):
            rows = what(client, folder)
            rows["most_memory_mb"] = memory.peak >> 20
            assert not list((folder / "data").rglob("upload/*")), "an upload was not deleted"
    assert memory.peak <= _MOST_BYTES, f"it took {memory.peak >> 20} MB, more than 2 GB"
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--fuzzed", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = {}
    if arguments.requests:
        found["load"] = _measured(lambda client, _: load(client, arguments.requests))
    if arguments.fuzzed:
        found["fuzzed"] = _measured(lambda client, folder: fuzz(client, arguments.fuzzed, folder, arguments.seed))
    print(json.dumps({**found, "cores": os.cpu_count(), "machine": platform.platform()}, indent=2))


if __name__ == "__main__":
    main()
