"""A file or a module becomes one network that can be run, with its input scaling said, found, or asked for."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import zoovet
from zoovet import Images, ZoovetError
from zoovet.cli.main import main
from zoovet.networks import SCALING_PRESETS, small_cnn
from zoovet.networks.batch import Networks

Grays = Callable[..., Images]


@pytest.fixture(scope="module")
def brightness_reader(levels: Tensor) -> nn.Module:
    """Tells levels of gray apart, read in [0, 1]: its logits are -400 · (mean - level)² but for a constant."""
    layer = nn.Linear(64, 10)
    with torch.no_grad():
        layer.weight.copy_((800 * levels / 64)[:, None].expand(-1, 64))
        layer.bias.copy_(-400 * levels**2)
    return nn.Sequential(nn.Flatten(), layer)


@pytest.fixture
def file(tmp_path: Path, brightness_reader: nn.Module) -> Path:
    torch.save({"state_dict": {f"module.{k}": v for k, v in brightness_reader.state_dict().items()}}, tmp_path / "f.pt")
    return tmp_path / "f.pt"


def test_the_scaling_is_found_on_labelled_images_and_said_with_its_accuracy(file: Path, grays: Grays) -> None:
    images = grays()
    network = zoovet.read(file, "mlp", images=images)
    assert network.scaling == SCALING_PRESETS["unit"]
    assert network.notes[-1].startswith(
        "input scaling found on 60 labelled images: [0, 1] (unit) gets 1.00 right; next"
    )
    assert torch.equal(network.predict(images), images.labels)
    assert network.graph is not None
    assert network.graph.input_scaling == network.scaling
    assert network.describe() == "MLP 64-10, 650 parameters, reads 1×8×8"


def test_bytes_are_read_as_the_file_is(file: Path, grays: Grays) -> None:
    images = grays()
    first, second = zoovet.read(file, scaling="unit"), zoovet.read(file.read_bytes(), "mlp", "unit")
    assert torch.equal(first.logits(images), second.logits(images))
    for view in (bytearray(file.read_bytes()), memoryview(file.read_bytes())):
        assert torch.equal(zoovet.read(view, "mlp", "unit").logits(images), first.logits(images))
    with pytest.raises(ZoovetError, match=r"^the file given as bytes is not a weight file"):
        zoovet.read(b"nothing that anyone wrote")


@pytest.mark.parametrize("kind", ["chance", "tie", "too few"])
def test_a_scaling_that_is_not_clearly_best_is_asked_for(kind: str, file: Path, grays: Grays) -> None:
    images = grays(3 if kind == "too few" else 60)
    if kind == "chance":
        images = Images(pixels=images.pixels, labels=grays(60, seed=1).labels)
    if kind == "tie":  # every preset sees the same signs: its answers differ, how often it is right does not
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))
        with torch.no_grad():
            module[1].weight.copy_(torch.randn(10, 64, generator=torch.Generator().manual_seed(2)) * 1e-4)
        torch.save(module.state_dict(), file)
    network = zoovet.read(file, "mlp", images=images)
    assert network.scaling is None
    assert network.notes[-1].startswith(f"input scaling not found on {len(images)} labelled images: ")
    assert network.notes[-1].endswith("give more images, or --scaling NAME")
    with pytest.raises(ZoovetError, match="input scaling is not known: give scaling=…"):
        network.predict(images)


def test_nearly_equal_scalings_are_named_beside_the_one_taken() -> None:
    generator = torch.Generator().manual_seed(3)
    colours = torch.rand(10, 3, 1, 1, generator=generator)
    labels = torch.arange(10).repeat(8)
    pixels = (255 * colours[labels]).expand(-1, 3, 4, 4).round().to(torch.uint8).clone()
    read = SCALING_PRESETS["imagenet"].apply(pixels[:10]).flatten(1)
    module = nn.Linear(48, 10)
    with torch.no_grad():
        module.weight.copy_(read)
        module.bias.copy_(-(read**2).sum(1) / 2)
    buffer = io.BytesIO()
    torch.save({f"fc.{name}": tensor for name, tensor in module.state_dict().items()}, buffer)
    network = zoovet.read(buffer.getvalue(), "mlp", images=Images(pixels=pixels, labels=labels))
    assert network.scaling == SCALING_PRESETS["imagenet"]
    assert "nearly the same answers with" in network.notes[-1]
    assert "(cifar10)" in network.notes[-1]


def test_what_is_said_of_the_scaling_must_agree(file: Path, brightness_reader: nn.Module) -> None:
    state = dict(brightness_reader.state_dict())
    torch.save(state | {"normalize.mean": torch.tensor([0.5]), "normalize.std": torch.tensor([0.5])}, file)
    assert zoovet.read(file).scaling == SCALING_PRESETS["symmetric"]
    with pytest.raises(ZoovetError, match=r"it says that it reads .*\[-1, 1\]|\(symmetric\), given is \[0, 1\]"):
        zoovet.read(file, scaling="unit")


def test_images_of_another_size_are_refused_with_both_shapes(file: Path, grays: Grays) -> None:
    network = zoovet.read(file, scaling="unit")
    wrong = torch.zeros(2, 9, 8, dtype=torch.uint8)
    with pytest.raises(ZoovetError, match=r"reads images of 1×8×8 \(channels, height, width\), these are 1×9×8"):
        network.predict(wrong)
    with pytest.raises(ZoovetError, match=r"f.pt is no mlp: it reads 64 numbers, which images of 9×8 do not have"):
        zoovet.read(file, "mlp", images=Images.from_arrays(wrong))
    more = Images(pixels=grays(3).pixels, labels=torch.tensor([0, 1, 12]))
    with pytest.raises(ZoovetError, match=r"f.pt: the network tells 10 classes apart, but images have the label 12"):
        zoovet.read(file, images=more)


def test_a_file_with_its_spec_inside_says_all(tmp_path: Path, grays: Grays) -> None:
    graph = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))
    flat = torch.linspace(-1, 1, 2 * graph.num_parameters).reshape(2, -1)
    networks = Networks.from_flat(graph, flat).with_scaling("unit")
    zoovet.save_networks(networks[0], tmp_path / "own.safetensors")
    network = zoovet.read(tmp_path / "own.safetensors")
    assert network.scaling == SCALING_PRESETS["unit"]
    images = grays(4)
    expected = zoovet.run(networks[0], images.pixels / 255)[0]
    assert torch.allclose(network.logits(images), expected, atol=1e-6)
    zoovet.save_networks(networks, tmp_path / "two.safetensors")
    with pytest.raises(ZoovetError, match=r"holds 2 networks, one is read; zoovet.load_networks reads them all"):
        zoovet.read(tmp_path / "two.safetensors")


def test_a_module_of_any_class_is_a_network(grays: Grays) -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(108, 4)
    )
    network = zoovet.from_module(module, (1, 8, 8), scaling="symmetric")
    images = grays(5)
    with torch.no_grad():
        expected = module.eval()(images.pixels / 127.5 - 1)
    assert torch.allclose(network.logits(images), expected, atol=1e-5)
    assert network.graph is not None
    assert network.beyond is None
    assert torch.equal(network.with_scaling("unit").with_scaling("symmetric").logits(images), network.logits(images))
    with pytest.raises(ZoovetError, match=r"the input scaling 'uint' is unknown; did you mean 'unit'"):
        network.with_scaling("uint")


class Normalising(nn.Module):
    """Normalises images of [0, 1] by itself, or what the numbers say."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation, self.fc = mean, deviation, nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(((x - self.mean) / self.deviation).flatten(1))


@pytest.mark.parametrize(
    ("mean", "deviation", "given", "expected"),
    [
        (0.5, 0.5, None, "symmetric"),
        (127.5, 127.5, None, "symmetric"),
        (0.0, 255.0, "byte", "unit"),
        (0.5, 0.5, "unit", "symmetric"),
        (0.0, 2.0, "symmetric", None),
        (0.0655, 2.18, None, None),
    ],
)
def test_first_operations_of_a_module_are_its_scaling(
    mean: float, deviation: float, given: str | None, expected: str | None, grays: Grays
) -> None:
    module, images = Normalising(mean, deviation).eval(), grays(5)
    network = zoovet.from_module(module, (1, 8, 8), scaling=given)
    if given is None and expected is None:
        assert network.scaling is None  # neither for [0, 1] nor for [0, 255]: images of another scaling go in
        return
    assert network.scaling == SCALING_PRESETS[expected] if expected else network.scaling is not None
    assert "its first operations scale images" in network.notes[-1]
    assert network.graph is not None
    assert [one.op for one in network.graph.operations] == ["flatten", "linear"]
    read = images.pixels / (255 if mean < 1 and given != "byte" else 1)
    with torch.no_grad():
        expected_logits = module(read * 2 - 1 if given == "symmetric" else read)
    assert torch.allclose(network.logits(images), expected_logits, atol=1e-5)


class Sorting(nn.Module):
    """What no graph can say."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        return self.fc(torch.sort(x.flatten(1), dim=1).values)


class Deciding(nn.Module):
    """Decides by what is in the images, so that it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1)) if float(x.sum()) > 0 else -self.fc(x.flatten(1))


@pytest.mark.parametrize(("module", "word"), [(Sorting(), "sort"), (Deciding(), "decide by what is in them")])
def test_what_no_graph_can_say_is_run_and_says_which_operation(module: nn.Module, word: str, grays: Grays) -> None:
    network = zoovet.from_module(module, (1, 8, 8), scaling="unit")
    assert network.graph is None
    assert network.beyond is not None
    assert word in network.beyond
    assert network.notes[-1].startswith("it can only be run, as no graph can say it: ")
    images = grays(5)
    with torch.no_grad():
        assert torch.allclose(network.logits(images), module.eval()(images.pixels / 255))
    before = network.logits(images)
    with torch.no_grad():
        module.fc.weight.zero_()  # type: ignore[union-attr, operator]
    assert torch.equal(network.logits(images), before)
    assert network.num_parameters == 260


def test_modules_that_are_no_classifiers_are_refused() -> None:
    with pytest.raises(ZoovetError, match=r"answers \[1, 6, 6\] for an image, expected is one number for each class"):
        zoovet.from_module(nn.Conv2d(1, 1, 3), (1, 8, 8))
    with pytest.raises(ZoovetError, match="cannot be traced with images of"):
        zoovet.from_module(nn.Linear(3, 2), (1, 8, 8))
    with pytest.raises(ZoovetError, match="has no parameters"):
        zoovet.from_module(nn.Flatten(), (1, 8, 8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, _: zoovet.from_module({}, (3, 8, 8)), "takes a torch.nn.Module, got a dict$"),
        (lambda net, _: zoovet.from_module("a.pt", (3, 8, 8)), "got a str; zoovet.read reads files"),
        (lambda net, _: zoovet.from_module(net, 64), r"input_shape must be \(channels, .*, got 64$"),
        (lambda net, _: zoovet.from_module(net, None), "input_shape must be .*, got None$"),
        (lambda net, _: zoovet.from_module(net, "3,8,8"), "input_shape must be .*, got '3,8,8'$"),
        (lambda net, _: zoovet.from_module(net, (3, 8.0, 8)), r"input_shape must be .*, got \(3, 8.0, 8\)$"),
        (lambda net, _: zoovet.from_module(net, (3, 2**40, 2**40)), "has more than 268,435,456 numbers, as no image"),
        (lambda net, _: zoovet.from_module(net, (64,), scaling=3), r"is a zoovet.InputScaling or a name \(symmetric,"),
        (lambda net, file: zoovet.read(net), "read takes a file's path or its bytes, got a Linear; zoovet.from_module"),
        (lambda net, file: zoovet.read(3), "read takes a file's path or its bytes, got an int$"),
        (lambda net, file: zoovet.read(file, net), "architecture must be a name, as 'resnet20', got a Linear"),
        (lambda net, file: zoovet.read(file, images="photos/"), "images must be zoovet.Images, got a str"),
        (lambda net, file: zoovet.read(file, scaling=["unit"]), r"f.pt: an input scaling is .*, got a list$"),
        (lambda net, file: zoovet.read(file, input_shape=8), r"f.pt: input_shape must be .*, got 8$"),
    ],
)
def test_arguments_of_another_kind_are_said_in_a_line(
    call: Callable[[nn.Module, Path], object], message: str, file: Path
) -> None:
    with pytest.raises(ZoovetError, match=message):
        call(nn.Linear(64, 10), file)


def test_an_onnx_file_says_its_network_and_perhaps_its_scaling(
    tmp_path: Path, grays: Grays, brightness_reader: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    make, path, images = onnx.helper, tmp_path / "gray.onnx", grays()
    numbers = {name: tensor.detach().numpy() for name, tensor in brightness_reader[1].state_dict().items()}  # type: ignore[index]
    graph = make.make_graph(
        [
            make.make_node("Flatten", ["images"], ["flat"], axis=1),
            make.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], transB=1),
        ],
        "gray",
        [make.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["N", 1, 8, 8])],
        [make.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 10])],
        [onnx.numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    network = zoovet.read(path, images=images)
    assert network.scaling == SCALING_PRESETS["unit"]
    assert torch.equal(network.predict(images), images.labels)
    assert zoovet.read(path.read_bytes(), images=images).scaling == network.scaling
    open_size = path.read_bytes().replace(b"\x02\x08\x08\x0a\x02\x08\x08", b"\x02\x12\x00\x0a\x02\x12\x00")
    assert open_size != path.read_bytes()
    with pytest.raises(ZoovetError, match=r"leaves the size of its input open, .*input_shape=\(1, 32, 32\)$"):
        zoovet.read(open_size)
    assert zoovet.read(open_size, input_shape=(1, 8, 8)).input_shape == (1, 8, 8)
    assert zoovet.read(open_size, images=images).scaling == network.scaling
    (tmp_path / "open.onnx").write_bytes(open_size)
    assert main(["scan", str(tmp_path / "open.onnx")]) == 2
    assert "leaves the size of its input open" in capsys.readouterr().err
    assert main(["scan", str(tmp_path / "open.onnx"), "--input-shape", "1,8,8"]) == 1
    assert "network from ONNX" in (said := capsys.readouterr().err)
    assert "reads 1×8×8" in said
    for shape in ("1,8", "1,8,0", "a,b,c", "1,8,8,8", ""):
        assert main(["scan", str(tmp_path / "open.onnx"), "--input-shape", shape]) == 2
        assert "must be channels, height and width with commas between them" in capsys.readouterr().err
    with pytest.raises(ZoovetError, match="says itself what its network is: leave out the architecture, mlp"):
        zoovet.read(path, "mlp")
    assert main(["scan", str(path), "--architecture", "mlp"]) == 1
    assert "it says itself what its network is; the architecture given was not used" in capsys.readouterr().err
    assert main(["scan", str(path), "--architecture", "mpl"]) == 2
    assert "the architecture 'mpl' is unknown; did you mean 'mlp'" in capsys.readouterr().err
    with pytest.raises(ZoovetError, match="does not exist"):
        zoovet.read(tmp_path / "none.onnx")
