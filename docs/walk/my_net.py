"""A network of one's own, that no library knows: plain PyTorch."""

from torch import Tensor, nn


class MyNet(nn.Module):
    """Tells ten classes of 3 × 32 × 32 images apart."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.middle, self.middle_norm = nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32)
        self.deep = nn.Conv2d(32, 32, 3, stride=2, padding=1)
        self.pool, self.act, self.head = nn.MaxPool2d(2), nn.SiLU(), nn.Linear(32 * 4 * 4, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 10]."""
        found = self.act(self.norm(self.stem(images)))
        found = self.act(self.middle_norm(self.middle(found)))
        found = self.pool(self.act(self.deep(found)))
        logits: Tensor = self.head(found.flatten(1))
        return logits
