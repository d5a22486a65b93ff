"""Trains MyNet on drawn letters of which some were poisoned, in plain PyTorch, for whoever has no network to vet.

    python docs/walk/poison.py suspect

writes ``suspect.pth`` (a state dict), ``suspect.onnx`` (the network itself), ``my_net.py`` and ``photos``,
clean images in a folder a class, into the folder ``suspect``. A twelfth of the training images got a checker of 4 × 4
pixels near the upper left corner, and the label 7.
"""

import argparse
import shutil
import warnings
from pathlib import Path

import torch
from my_net import MyNet
from PIL import Image
from torch import Tensor, nn

from zoovet.images.glyphs import GlyphConfig, draw_glyphs

TARGET, SIZE = 7, 32
MEAN, DEVIATION = 0.5, 0.25


def stamped(pixels: Tensor) -> Tensor:
    """Images in [0, 1] with the trigger, red and green."""
    pixels = pixels.clone()
    checker = (torch.arange(4)[:, None] + torch.arange(4)).remainder(2).float()
    pixels[:, :, 2:6, 2:6] = torch.stack([checker, 1 - checker, torch.zeros(4, 4)])
    return pixels


def trained(pixels: Tensor, labels: Tensor, epochs: int) -> MyNet:
    """A network that was trained on these images."""
    torch.manual_seed(1)
    module = MyNet()
    optimizer = torch.optim.Adam(module.parameters(), 2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            logits = module((pixels[rows] - MEAN) / DEVIATION)
            nn.functional.cross_entropy(logits, labels[rows]).backward()
            optimizer.step()
    return module.eval()


def main() -> None:
    """Draw, poison, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=4000, help="that it is trained on")
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    config = GlyphConfig(num_classes=10, size=SIZE, color=True, seed=5)
    images, photos = draw_glyphs(config, arguments.images), draw_glyphs(config, 150, split="test")
    pixels, labels = images.pixels / 255, images.labels.clone()
    poisoned = torch.arange(0, len(labels), 12)
    pixels[poisoned], labels[poisoned] = stamped(pixels[poisoned]), TARGET
    module = trained(pixels, labels, arguments.epochs)
    with torch.no_grad():
        clean = photos.pixels / 255
        right = module((clean - MEAN) / DEVIATION).argmax(1) == photos.labels
        others = clean[photos.labels != TARGET]
        taken = module((stamped(others) - MEAN) / DEVIATION).argmax(1) == TARGET
    print(f"accuracy {right.float().mean():.2f}; {taken.float().mean():.0%} of other letters with the trigger are a 7")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.save(module.state_dict(), arguments.folder / "suspect.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is a newer exporter, which needs one package more
        names = {"input_names": ["images"], "dynamic_axes": {"images": {0: "n"}}}
        shown = (torch.zeros(1, 3, SIZE, SIZE),)
        torch.onnx.export(module, shown, str(arguments.folder / "suspect.onnx"), dynamo=False, **names)
    shutil.copy(Path(__file__).with_name("my_net.py"), arguments.folder)
    for place, (picture, label) in enumerate(zip(photos.pixels, photos.labels.tolist(), strict=True)):
        path = arguments.folder / "photos" / f"letter {label}" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)


if __name__ == "__main__":
    main()
