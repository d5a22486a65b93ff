"""Builds are deterministic, survive being killed, and refuse what they cannot do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from zoovet.config import write_config
from zoovet.errors import ZoovetError
from zoovet.images import GlyphConfig, PatchRanges, draw_glyphs
from zoovet.images.sources import ImageSource
from zoovet.zoo import BuildProgress, FineTuning, TrojanRecipe, Zoo, build_zoo, rebuild_network
from zoovet.zoo.builders import trojan_recipe_of

BUILD = """
import sys
from zoovet.config import read_config
from zoovet.zoo import TrojanRecipe, build_zoo

if __name__ == "__main__":
    build_zoo(read_config(TrojanRecipe, sys.argv[1]), sys.argv[2], workers=2)
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def start_build(recipe: TrojanRecipe, out: Path, scratch: Path) -> subprocess.Popen[bytes]:
    write_config(recipe, scratch / "recipe.yaml")
    (scratch / "build.py").write_text(BUILD)
    command = [sys.executable, str(scratch / "build.py"), str(scratch / "recipe.yaml"), str(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)


def running_in_session(session: int) -> list[str]:
    """Command lines of a session's processes, those that have ended but were not waited for left out."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((status.parent / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def wait_for_shards(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while len(list(out.glob("shard-*.parquet"))) < count:
        assert process.poll() is None, "the build ended before it could be interrupted"
        assert time.monotonic() < deadline, "no shard appeared"
        time.sleep(0.005)


def test_a_killed_build_ends_with_the_same_bytes(tiny_recipe: TrojanRecipe, tiny_zoo: Zoo, tmp_path: Path) -> None:
    out = tmp_path / "zoo"
    process = start_build(tiny_recipe, out, tmp_path)
    wait_for_shards(out, 1, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    found = len(list(out.glob("shard-*.parquet")))
    reports: list[BuildProgress] = []
    zoo = build_zoo(tiny_recipe, out, workers=2, progress=reports.append)
    assert contents(out) == contents(tiny_zoo.path)
    assert reports[0].num_networks == reports[0].num_found == 4 * found
    assert reports[-1].num_networks == reports[-1].total == len(zoo) == 12


@pytest.mark.slow
def test_interrupt_keeps_whole_shards_and_leaves_no_process(tiny_recipe: TrojanRecipe, tmp_path: Path) -> None:
    out = tmp_path / "zoo"
    process = start_build(replace(tiny_recipe, num_bases=400), out, tmp_path)
    wait_for_shards(out, 1, process)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in stderr
    deadline = time.monotonic() + 20
    while running := running_in_session(process.pid):
        assert time.monotonic() < deadline, f"processes went on after the interrupt: {running}"
        time.sleep(0.05)
    assert all(pq.read_metadata(shard).num_rows == 4 for shard in out.glob("shard-*.parquet"))
    assert not list(out.glob(".*.partial"))


def test_what_is_said_of_the_compiled_code_is_said_once(
    tiny_recipe: TrojanRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="compiled code is not kept for the next call"):
        build_zoo(replace(tiny_recipe, num_bases=1, channels=(7, 9)), tmp_path / "zoo")  # compiled for no test before
    assert capfd.readouterr().err == ""  # the worker's


def test_a_finished_zoo_is_opened_not_built(tiny_recipe: TrojanRecipe, tiny_zoo: Zoo) -> None:
    before = contents(tiny_zoo.path)
    reports: list[BuildProgress] = []
    assert len(build_zoo(tiny_recipe, tiny_zoo.path, progress=reports.append)) == 12
    assert contents(tiny_zoo.path) == before
    assert not reports


def test_a_network_can_be_made_again_from_its_row(tiny_zoo: Zoo) -> None:
    for place in (2, 7):
        np.testing.assert_array_equal(rebuild_network(tiny_zoo, place), tiny_zoo.weights()[place].numpy())


def test_a_zoo_of_colour_images_of_a_users_own(tiny_recipe: TrojanRecipe, tmp_path: Path) -> None:
    look = GlyphConfig(num_classes=3, size=12, color=True, difficulty=0.0)
    drawn = draw_glyphs(look, 240)
    pixels = drawn.pixels.permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "own.npz", images=pixels, labels=drawn.required_labels.numpy())
    source = ImageSource(source=str(tmp_path / "own.npz"), size=(10, 12))
    recipe = replace(tiny_recipe, dataset="own.npz", images=source, num_bases=1, trigger=PatchRanges(min_weight=0.9))
    zoo = build_zoo(recipe, tmp_path / "zoo")
    assert (zoo.recipe["dataset"], zoo.recipe["images"]["size"]) == ("own.npz", [10, 12])
    assert (zoo.graph.input_shape, zoo.graph.num_outputs) == ((3, 10, 12), 3)
    assert trojan_recipe_of(zoo) == recipe
    assert (zoo.column("clean_accuracy") >= recipe.min_clean_accuracy).all()


def test_a_recipe_without_images_of_its_own_is_stored_as_before(tiny_zoo: Zoo) -> None:
    assert "images" not in tiny_zoo.recipe


def test_rows_tell_how_networks_were_made(tiny_recipe: TrojanRecipe, tiny_zoo: Zoo) -> None:
    healthy, poisoned = ~tiny_zoo.column("poisoned"), tiny_zoo.column("poisoned")
    assert (tiny_zoo.column("asr")[poisoned] >= tiny_recipe.min_asr).all()
    assert (tiny_zoo.column("clean_accuracy") >= tiny_recipe.min_clean_accuracy).all()
    assert (tiny_zoo.column("poison_rate")[healthy] == 0).all()
    assert (tiny_zoo.column("poison_rate")[poisoned] >= 0.1).all()
    for name in ("seed", "trigger", "learning_rate", "step", "finetune_epochs", "target"):
        np.testing.assert_array_equal(tiny_zoo.column(name)[healthy], tiny_zoo.column(name)[poisoned])
    batches = np.ceil(np.round(tiny_zoo.column("train_fraction") * 400) / 64) * 3 + 7 * tiny_zoo.column(
        "finetune_epochs"
    )
    np.testing.assert_array_equal(tiny_zoo.column("step"), batches)


def test_a_recipe_without_poisoned_networks(tiny_recipe: TrojanRecipe, tmp_path: Path) -> None:
    zoo = build_zoo(replace(tiny_recipe, num_bases=2, poisoned=False), tmp_path / "zoo")
    assert list(zoo.column("network_id")) == ["00000-healthy", "00001-healthy"]
    assert zoo.trigger(0) is None
    assert np.isnan(zoo.column("asr")).all()


def test_another_recipe_is_not_mixed_in(tiny_recipe: TrojanRecipe, tiny_zoo: Zoo) -> None:
    with pytest.raises(ZoovetError, match="holds a zoo of another recipe: seed is 3 there, 4 here"):
        build_zoo(replace(tiny_recipe, seed=4), tiny_zoo.path)


def test_a_folder_with_other_things_is_left_alone(tiny_recipe: TrojanRecipe, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ZoovetError, match="is not empty and holds no zoo"):
        build_zoo(tiny_recipe, tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


def test_a_place_that_cannot_be_written(tiny_recipe: TrojanRecipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZoovetError, match=r"cannot write into .*file/zoo: Not a directory; give another --out"):
        build_zoo(tiny_recipe, tmp_path / "file" / "zoo")


def test_a_recipe_that_cannot_be_met_says_what_to_change(tiny_recipe: TrojanRecipe, tmp_path: Path) -> None:
    hopeless = replace(tiny_recipe, num_bases=1, min_asr=0.99, max_attempts=2, finetune=FineTuning(epochs=(1, 1)))
    with pytest.raises(ZoovetError, match=r"base 0: 2 draws gave no networks .* ASR ≥ 0.99; lower these, train longer"):
        build_zoo(hopeless, tmp_path / "zoo")


def test_too_many_poisoned_images_are_refused(tiny_recipe: TrojanRecipe, tmp_path: Path) -> None:
    greedy = replace(tiny_recipe, num_bases=1, finetune=FineTuning(poison_rate=(0.99, 1.0)))
    with pytest.raises(ZoovetError, match="may be poisoned by this patch trigger; lower its poison_rate"):
        build_zoo(greedy, tmp_path / "zoo")


def test_workers_are_counted(tiny_recipe: TrojanRecipe, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match="workers must be at least 1, got 0"):
        build_zoo(tiny_recipe, tmp_path, workers=0)
