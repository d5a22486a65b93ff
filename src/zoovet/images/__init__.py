"""Image datasets, triggers and poisoning."""

from __future__ import annotations

from zoovet.images.colour_patches import COLOUR_PATCH_KINDS, ColourPatchRanges, ColourPatchTrigger
from zoovet.images.datasets import DATASET_NAMES, default_data_root, load_dataset
from zoovet.images.fixed_patches import PATCH_PLACES, FixedPatchRanges
from zoovet.images.glyphs import GLYPH_CLASSES, GlyphConfig, draw_glyphs
from zoovet.images.images import Images
from zoovet.images.patches import PATCH_KINDS, PatchRanges, PatchTrigger, patch_values
from zoovet.images.poisoning import (
    PoisonedSet,
    TriggeredSet,
    attack_success_rate,
    clean_accuracy,
    num_poisoned,
    poison,
    robust_accuracy,
    triggered_test,
    with_covers,
)
from zoovet.images.several_triggers import SeveralRanges, SeveralTriggers
from zoovet.images.shapes import SHAPE_CLASSES, ShapeConfig, draw_shapes
from zoovet.images.sticker_designs import STICKER_DESIGNS
from zoovet.images.stickers import StickerRanges, StickerTrigger
from zoovet.images.triggers import (
    LABELLINGS,
    Trigger,
    TriggerRanges,
    draw_trigger,
    register_trigger,
    trigger_from_json,
    trigger_kinds,
)
from zoovet.images.whole_image import (
    BlendRanges,
    BlendTrigger,
    StripeRanges,
    StripeTrigger,
    WarpRanges,
    WarpTrigger,
)

__all__ = [
    "COLOUR_PATCH_KINDS",
    "DATASET_NAMES",
    "GLYPH_CLASSES",
    "LABELLINGS",
    "PATCH_KINDS",
    "PATCH_PLACES",
    "SHAPE_CLASSES",
    "STICKER_DESIGNS",
    "BlendRanges",
    "BlendTrigger",
    "ColourPatchRanges",
    "ColourPatchTrigger",
    "FixedPatchRanges",
    "GlyphConfig",
    "Images",
    "PatchRanges",
    "PatchTrigger",
    "PoisonedSet",
    "SeveralRanges",
    "SeveralTriggers",
    "ShapeConfig",
    "StickerRanges",
    "StickerTrigger",
    "StripeRanges",
    "StripeTrigger",
    "Trigger",
    "TriggerRanges",
    "TriggeredSet",
    "WarpRanges",
    "WarpTrigger",
    "attack_success_rate",
    "clean_accuracy",
    "default_data_root",
    "draw_glyphs",
    "draw_shapes",
    "draw_trigger",
    "load_dataset",
    "num_poisoned",
    "patch_values",
    "poison",
    "register_trigger",
    "robust_accuracy",
    "trigger_from_json",
    "trigger_kinds",
    "triggered_test",
    "with_covers",
]
