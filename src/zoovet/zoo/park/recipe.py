"""What a park should hold: healthy and trojaned networks of many architectures, image sets, trainings and attacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from zoovet.errors import ZoovetError
from zoovet.zoo.attacks import Attack, Attackers, PatchAttack
from zoovet.zoo.park.families import Architecture, PlainFamily
from zoovet.zoo.park.images import ImageBlock
from zoovet.zoo.park.training_ranges import ParkTraining
from zoovet.zoo.recipe_parts import SplitShares, check_at_least, check_num_bases

__all__ = ["ParkRecipe"]


@dataclass(frozen=True, kw_only=True)
class ParkRecipe:
    """A zoo over many architectures × image sets × trainings × attacks: a healthy and a trojaned network a base.

    Attributes:
        kind: What kind of recipe it is.
        images: Image sets.
        architectures: Blocks of architectures, a family each.
        training: What trainings are drawn from.
        attacks: Families of attacks, each with its triggers and its poison rate.
        attackers: What attackers start from.
        num_bases: Bases; the park has twice as many networks.
        round_bases: Bases that architectures, image sets, attacks and splits are dealt to at a time, by their shares. A
            park of more bases begins with one of fewer, and one that is stopped is balanced after each round.
        most_multiplications: An architecture that needs more for one image is drawn again.
        test_images: Test images that accuracies, ASR and RA are measured on; 0 for all.
        max_accuracy_loss: A base whose trojaned network has a clean accuracy that is lower by more than this than its
            healthy sibling's is drawn again.
        min_asr: A base whose trojaned network has a lower attack success rate is drawn again.
        attack_attempts: Draws of a base before another attack is dealt to it at each further draw.
        max_attempts: Draws of a base before it is left out.
        split: Shares of the splits, by base.
        bases_per_shard: Bases in a shard: what an interrupted build loses at most, a worker.
        seed: Of everything.
    """

    kind: Literal["park"] = "park"
    images: tuple[ImageBlock, ...]
    architectures: tuple[Architecture, ...] = (PlainFamily(),)
    training: ParkTraining = field(default_factory=ParkTraining)
    attacks: tuple[Attack, ...] = (PatchAttack(),)
    attackers: Attackers = field(default_factory=lambda: Attackers(scratch_share=0.6))
    num_bases: int = 600
    round_bases: int = 60
    most_multiplications: int = 6_500_000
    test_images: int = 2000
    max_accuracy_loss: float = 0.1
    min_asr: float = 0.5
    attack_attempts: int = 3
    max_attempts: int = 9
    split: SplitShares = field(default_factory=SplitShares)
    bases_per_shard: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("round_bases", "most_multiplications", "attack_attempts", "max_attempts", "bases_per_shard"):
            check_at_least(name, getattr(self, name), 1)
        check_num_bases(self.num_bases)
        check_at_least("test_images", self.test_images, 0)
        check_at_least("seed", self.seed, 0)
        for name in ("images", "architectures", "attacks"):
            if not getattr(self, name):
                raise ZoovetError(f"{name} must not be empty; a park needs one block at least")
        names = [block.name for block in self.images]
        for name in names:
            if names.count(name) > 1:
                raise ZoovetError(f"two blocks of images are called {name!r}; give each a name of its own")
        if not 0 <= self.min_asr < 1:
            raise ZoovetError(f"min_asr must be at least 0 and below 1, got {self.min_asr}")
        if not 0 <= self.max_accuracy_loss <= 1:
            raise ZoovetError(f"max_accuracy_loss must lie in 0 to 1, got {self.max_accuracy_loss}")

    @property
    def num_networks(self) -> int:
        """Networks in the park, where no base is left out."""
        return 2 * self.num_bases

    @property
    def num_shards(self) -> int:
        """Shards of the park."""
        return -(-self.num_bases // self.bases_per_shard)
