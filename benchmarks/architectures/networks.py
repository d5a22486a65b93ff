"""Which architectures are in the table, and a network of each: random weights, nothing downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from cifar import LeNet, Mlp, PreActivation, ResNet, vgg16_bn
from torch import nn

__all__ = ["ARCHITECTURES", "Architecture", "drawn", "library_module"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One row.

    Attributes:
        title: For people.
        reading: What ``--architecture`` is told for the state dict.
        shape: (channels, height, width) of the images.
        make: The module of networks without a library; ``None``: ``reading`` says which library has it.
    """

    title: str
    reading: str
    shape: tuple[int, int, int]
    make: Callable[[], nn.Module] | None = None


def _of_library(library: str, title: str, name: str, side: int) -> Architecture:
    return Architecture(title=title, reading=f"{library}:{name}", shape=(3, side, side))


_CIFAR = (3, 32, 32)
_OWN = (
    Architecture(title="MLP 784-256-256-10, tanh", reading="mlp:activation=tanh,image=28", shape=(1, 28, 28), make=Mlp),
    Architecture(title="LeNet", reading="lenet:activation=relu,pooling=max", shape=_CIFAR, make=LeNet),
    Architecture(
        title="ResNet-20 (CIFAR)",
        reading="resnet20:zeros=around",
        shape=_CIFAR,
        make=lambda: ResNet((16, 32, 64), 3, zeros=True),
    ),
    Architecture(
        title="ResNet-56 (CIFAR)",
        reading="resnet56:zeros=around",
        shape=_CIFAR,
        make=lambda: ResNet((16, 32, 64), 9, zeros=True),
    ),
    Architecture(
        title="ResNet-18 (CIFAR)",
        reading="resnet18",
        shape=_CIFAR,
        make=lambda: ResNet((64, 128, 256, 512), 2, zeros=False),
    ),
    Architecture(
        title="PreAct-ResNet-18",
        reading="preact_resnet18",
        shape=_CIFAR,
        make=lambda: PreActivation((64, 128, 256, 512), wide=False),
    ),
    Architecture(
        title="WRN-16-1", reading="wrn-16-1", shape=_CIFAR, make=lambda: PreActivation((16, 32, 64), wide=True)
    ),
    Architecture(title="VGG-16-bn (CIFAR)", reading="vgg16:activation=relu,pooling=max", shape=_CIFAR, make=vgg16_bn),
)
_TORCHVISION = (
    ("ResNet-18", "resnet18", 224),
    ("ResNet-50", "resnet50", 64),
    ("ResNeXt-50 32×4d", "resnext50_32x4d", 64),
    ("Wide-ResNet-50-2", "wide_resnet50_2", 64),
    ("VGG-11", "vgg11", 224),
    ("VGG-16-bn", "vgg16_bn", 224),
    ("AlexNet", "alexnet", 224),
    ("SqueezeNet 1.0", "squeezenet1_0", 64),
    ("SqueezeNet 1.1", "squeezenet1_1", 64),
    ("DenseNet-121", "densenet121", 64),
    ("GoogLeNet", "googlenet", 64),
    ("Inception-v3", "inception_v3", 96),
    ("MobileNetV2", "mobilenet_v2", 64),
    ("MobileNetV3-Small", "mobilenet_v3_small", 64),
    ("MobileNetV3-Large", "mobilenet_v3_large", 64),
    ("ShuffleNetV2 ×0.5", "shufflenet_v2_x0_5", 64),
    ("ShuffleNetV2 ×1.0", "shufflenet_v2_x1_0", 64),
    ("MNASNet 0.5", "mnasnet0_5", 64),
    ("MNASNet 1.0", "mnasnet1_0", 64),
    ("EfficientNet-B0", "efficientnet_b0", 64),
    ("RegNet-X-400MF", "regnet_x_400mf", 64),
    ("RegNet-Y-400MF", "regnet_y_400mf", 64),
    ("ConvNeXt-Tiny", "convnext_tiny", 64),
    ("ViT-B/16", "vit_b_16", 224),
    ("Swin-T", "swin_t", 64),
)
_TIMM = (
    ("ResNet-10-T", "resnet10t", 64),
    ("SE-ResNet-18", "legacy_seresnet18", 64),
    ("GhostNet ×1.0", "ghostnet_100", 64),
    ("LCNet ×0.5", "lcnet_050", 64),
    ("TinyNet-E", "tinynet_e", 64),
    ("FBNet-C", "fbnetc_100", 64),
    ("HardCoRe-NAS-A", "hardcorenas_a", 64),
    ("MixNet-S", "mixnet_s", 64),
    ("RepVGG-A0", "repvgg_a0", 64),
    ("MobileOne-S0", "mobileone_s0", 64),
    ("DLA-46x-C", "dla46x_c", 64),
    ("ConvNeXt-Atto", "convnext_atto", 64),
    ("EdgeNeXt-XXS", "edgenext_xx_small", 64),
    ("MobileViT-XXS", "mobilevit_xxs", 64),
    ("PoolFormer-S12", "poolformer_s12", 64),
    ("DeiT-Tiny/16", "deit_tiny_patch16_224", 224),
    ("XCiT-Nano-12/16", "xcit_nano_12_p16_224", 224),
    ("ByobNet, smallest", "test_byobnet", 160),
    ("EfficientNet with group norm, smallest", "test_efficientnet_gn", 160),
    ("MambaOut, smallest", "test_mambaout", 160),
    ("MaxViT, smallest", "test_maxvit", 160),
    ("CoAtNet, smallest", "test_coatnet", 160),
    ("NFNet, smallest", "test_nfnet", 160),
    ("ViT, smallest", "test_vit", 160),
    ("ViT with relative positions, smallest", "test_vit_relpos", 160),
)
ARCHITECTURES: dict[str, Architecture] = {
    one.reading: one
    for one in (
        *_OWN,
        *(_of_library("torchvision", *each) for each in _TORCHVISION),
        *(_of_library("timm", *each) for each in _TIMM),
    )
}
"""All rows by what they are read as."""


def library_module(reading: str) -> nn.Module:
    """The module that a library has under a name, with random weights."""
    library, _, name = reading.partition(":")
    if library == "timm":
        import timm

        return timm.create_model(name, pretrained=False)
    from torchvision import models

    return models.get_model(name, weights=None)


def drawn(architecture: Architecture, *, is_mild: bool = False) -> nn.Module:
    """A network of an architecture, by torch's seed 0, in evaluation mode.

    What starts as one number repeated (norms' factors and offsets, layer scales) is drawn around it, so that it counts.
    The running statistics of batch norms are those of random images, disturbed. With ``is_mild`` factors and statistics
    are such that numbers, and their rounding, do not grow from layer to layer.
    """
    torch.manual_seed(0)
    module = architecture.make() if architecture.make else library_module(architecture.reading)
    module.eval()
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            if tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all()):
                if tensor.flatten()[0] == 0 and not name.endswith("weight"):
                    tensor.normal_(0, 0.1)
                else:
                    tensor.uniform_(*((0.25, 0.75) if is_mild else (0.5, 1.5)))
        norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train().momentum = 1.0
        module(torch.randn(8, *architecture.shape))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval().momentum = momentum
            if norm.running_mean is None or norm.running_var is None:
                continue
            if is_mild:
                norm.running_var += norm.running_mean**2
            else:
                norm.running_mean += 0.3 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
                norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.5, 1.5)
    return module
