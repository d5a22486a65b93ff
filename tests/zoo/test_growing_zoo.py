"""What lies in a zoo's folder is checked before it is kept: damage is refused or made again, never blessed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zoovet.errors import ZoovetError
from zoovet.folder_lock import LOCK_NAME, folder_lock
from zoovet.jobs import Inline
from zoovet.zoo import BuildProgress, TrojanRecipe, Zoo, build_zoo
from zoovet.zoo.builders import builder_of
from zoovet.zoo.growing_zoo import growing_zoo
from zoovet.zoo.shard_label import ShardLabel, label_of, recipe_fingerprint
from zoovet.zoo.store import ShardInfo, ZooInfo, write_shard

FIRST, SECOND, THIRD = (f"shard-0000{index}.parquet" for index in range(3))


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file's bytes, and where links lead."""
    return {
        path.name: str(path.readlink()) if path.is_symlink() else "a folder" if path.is_dir() else path.read_bytes()
        for path in sorted(folder.iterdir())
    }


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def swap(folder: Path) -> None:
    (folder / FIRST).rename(folder / "other")
    (folder / SECOND).rename(folder / FIRST)
    (folder / "other").rename(folder / SECOND)


def bless(folder: Path) -> None:
    """Write what lies there into ``zoo.json`` with new checksums, as earlier versions did."""
    info = ZooInfo.read(folder)
    shards = tuple(ShardInfo.of(folder / shard.name) for shard in info.shards)
    ZooInfo(**{**vars(info), "shards": shards}).write(folder)


def forget(folder: Path, *names: str) -> None:
    """Leave shards out of ``zoo.json``, as a build that is killed between the two leaves them."""
    info = ZooInfo.read(folder)
    ZooInfo(**{**vars(info), "shards": tuple(shard for shard in info.shards if shard.name not in names)}).write(folder)


def without_label(path: Path, change: Callable[[list[dict[str, Any]]], None] = lambda rows: None) -> None:
    """The shard as an earlier version would have written it."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def in_place(folder: Path, name: str, make: Callable[[Path], object]) -> None:
    (folder / name).unlink()
    make(folder / name)


def change_json(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((folder / "zoo.json").read_text())
    change(data)
    (folder / "zoo.json").write_text(json.dumps(data))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit": (lambda zoo: flip(zoo / SECOND, 2000), f"{SECOND} has the wrong checksum; give --repair-zoo"),
    "a bit of the footer": (lambda zoo: flip(zoo / SECOND, -20), f"{SECOND} has the wrong checksum"),
    "truncated": (lambda zoo: os.truncate(zoo / FIRST, 9000), f"{FIRST} has the wrong checksum"),
    "emptied": (lambda zoo: os.truncate(zoo / FIRST, 0), f"{FIRST} has the wrong checksum"),
    "swapped": (swap, f"{FIRST} is shard 1 of this zoo \\(and another one is damaged\\)"),
    "swapped and blessed": (lambda zoo: (swap(zoo), bless(zoo)), f"{FIRST} is shard 1 of this zoo"),
    "copied": (lambda zoo: shutil.copy(zoo / FIRST, zoo / SECOND), f"{SECOND} is shard 0 of this zoo"),
    "swapped by an earlier version": (
        lambda zoo: (swap(zoo), *(without_label(zoo / name) for name in (FIRST, SECOND)), bless(zoo)),
        f"{FIRST} has the base 2 in row 0, expected 0",
    ),
    "another seed, by an earlier version": (
        lambda zoo: (without_label(zoo / FIRST, lambda rows: rows[0].update(seed=5)), bless(zoo)),
        f"{FIRST} has the seed 5 for the base 0, which this recipe does not draw",
    ),
    "another split, by an earlier version": (
        lambda zoo: (without_label(zoo / FIRST, lambda rows: rows[1].update(split="none")), bless(zoo)),
        f"{FIRST} has the split none in row 1",
    ),
    "too few rows": (
        lambda zoo: (without_label(zoo / FIRST, lambda rows: rows.pop()), bless(zoo)),
        f"{FIRST} has 3 networks, expected 4",
    ),
    "a bit, after a kill": (lambda zoo: (forget(zoo, SECOND), flip(zoo / SECOND, 2000)), f"{SECOND} has the wrong"),
    "copied, after a kill": (
        lambda zoo: (forget(zoo, SECOND), shutil.copy(zoo / FIRST, zoo / SECOND)),
        f"{SECOND} is shard 0 of this zoo",
    ),
    "no Parquet, after a kill": (lambda zoo: (forget(zoo, THIRD), os.truncate(zoo / THIRD, 4)), f"{THIRD} is damaged"),
    "a folder": (lambda zoo: in_place(zoo, FIRST, Path.mkdir), f"{FIRST} is damaged: it is no file"),
    "a pipe": (lambda zoo: in_place(zoo, FIRST, os.mkfifo), f"{FIRST} is damaged: it is no file"),
    "a loop": (
        lambda zoo: in_place(zoo, FIRST, lambda path: path.symlink_to(path.name)),
        f"{FIRST} is damaged: Too many levels of symbolic links",
    ),
    "a link to nowhere": (
        lambda zoo: in_place(zoo, FIRST, lambda path: path.symlink_to("nowhere")),
        f"{FIRST} is missing",
    ),
    "no zoo.json": (lambda zoo: (zoo / "zoo.json").unlink(), "has shards, but no zoo.json; give --repair-zoo"),
    "nested": (lambda zoo: (zoo / "zoo.json").write_text("[" * 100_000), "zoo.json .*; give --repair-zoo"),
    "half": (lambda zoo: os.truncate(zoo / "zoo.json", 300), "zoo.json .*; give --repair-zoo"),
    "zoo.json a loop": (
        lambda zoo: in_place(zoo, "zoo.json", lambda path: path.symlink_to(path.name)),
        "zoo.json cannot be read: Too many levels of symbolic links",
    ),
    "zoo.json a folder": (lambda zoo: in_place(zoo, "zoo.json", Path.mkdir), "zoo.json .* is a folder.*; give --rep"),
    "a list for a recipe": (
        lambda zoo: change_json(zoo, lambda data: data.update(recipe=[])),
        r"'recipe' must be an object, got a list; give --repair-zoo",
    ),
    "another number of shards": (
        lambda zoo: change_json(zoo, lambda data: data.update(num_shards=4)),
        "it tells of 4 shards, its recipe of 3",
    ),
    "fewer shards than are listed": (
        lambda zoo: change_json(zoo, lambda data: data.update(num_shards=2)),
        "3 shards are listed, and 'num_shards' is 2.*; give --repair-zoo",
    ),
    "a text for a number": (
        lambda zoo: change_json(zoo, lambda data: data["shards"][1].update(num_networks="4")),
        "shard 1: 'num_networks' must be an integer, got a text; give",
    ),
    "a shard elsewhere": (
        lambda zoo: change_json(zoo, lambda data: data["shards"][1].update(name="../shard-00001.parquet")),
        r"shard 1: '\.\./shard-00001\.parquet' is no file in the zoo's folder; give",
    ),
    "a shard twice": (
        lambda zoo: change_json(zoo, lambda data: data["shards"].append(data["shards"][0])),
        "a shard is listed twice",
    ),
    "a list": (lambda zoo: (zoo / "zoo.json").write_text("[]"), r"zoo\.json"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named_and_nothing_is_changed(
    tiny_recipe: TrojanRecipe, zoo_copy: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(zoo_copy)
    pipes = {path.name for path in zoo_copy.iterdir() if path.is_fifo()}
    before = {} if pipes else contents(zoo_copy)
    with pytest.raises(ZoovetError, match=message) as caught:
        build_zoo(tiny_recipe, zoo_copy)
    assert "\n" not in str(caught.value)
    assert pipes or contents(zoo_copy) == before


def test_what_another_recipe_has_else_is_named(tiny_recipe: TrojanRecipe, zoo_copy: Path) -> None:
    other = replace(tiny_recipe, finetune=replace(tiny_recipe.finetune, poison_rate=(0.3, 0.4)))
    with pytest.raises(ZoovetError, match=r"recipe: finetune\.poison_rate is \[.*\] there, \[0\.3, 0\.4\] here"):
        build_zoo(other, zoo_copy)


def test_a_changed_recipe_in_zoo_json_is_known_by_the_shards(
    tiny_recipe: TrojanRecipe, tiny_zoo: Zoo, zoo_copy: Path
) -> None:
    change_json(zoo_copy, lambda data: data["recipe"].update(seed=4))
    with pytest.raises(ZoovetError, match=r"the recipe in zoo\.json is not that of its shards; .* with --repair-zoo"):
        Zoo.open(zoo_copy, verify=True)
    with pytest.raises(ZoovetError, match="its shards are of this recipe, and seed is 4 there, 3 here; give --repair"):
        build_zoo(tiny_recipe, zoo_copy)
    with pytest.raises(ZoovetError, match=r"the recipe in zoo\.json is not that of its shards"):
        Zoo.open(zoo_copy, verify=True)
    times = {name: (zoo_copy / name).stat().st_mtime_ns for name in (FIRST, SECOND, THIRD)}
    build_zoo(tiny_recipe, zoo_copy, repair=True, runner=Inline())
    assert contents(zoo_copy) == contents(tiny_zoo.path)
    assert times == {name: (zoo_copy / name).stat().st_mtime_ns for name in times}


def test_what_is_damaged_is_made_again_where_that_is_wanted(
    tiny_recipe: TrojanRecipe, tiny_zoo: Zoo, zoo_copy: Path
) -> None:
    flip(zoo_copy / FIRST, 2000)
    in_place(zoo_copy, THIRD, lambda path: path.symlink_to(path.name))
    reports: list[BuildProgress] = []
    build_zoo(tiny_recipe, zoo_copy, repair=True, progress=reports.append, runner=Inline())
    assert reports[0].num_found == 4
    assert contents(zoo_copy) == contents(tiny_zoo.path)


@pytest.mark.parametrize("name", ["no zoo.json", "nested", "half", "a list for a recipe", "zoo.json a loop"])
def test_zoo_json_is_written_anew_from_shards_that_say_what_they_are(
    tiny_recipe: TrojanRecipe, tiny_zoo: Zoo, zoo_copy: Path, name: str
) -> None:
    DAMAGES[name][0](zoo_copy)
    build_zoo(tiny_recipe, zoo_copy, repair=True, runner=Inline())
    assert contents(zoo_copy) == contents(tiny_zoo.path)


@pytest.mark.parametrize("first_is_another_recipes", [False, True])
def test_no_zoo_is_repaired_into_another(
    tiny_recipe: TrojanRecipe, zoo_copy: Path, first_is_another_recipes: bool
) -> None:
    if first_is_another_recipes:
        rows = pq.read_table(zoo_copy / FIRST).to_pylist()
        write_shard(zoo_copy / FIRST, rows, ShardLabel(recipe_fingerprint({"kind": "other"}), 0))
    else:
        for name in (FIRST, SECOND, THIRD):
            without_label(zoo_copy / name)
    os.truncate(zoo_copy / "zoo.json", 300)
    before = contents(zoo_copy)
    for repair in (False, True):  # where it would not help, it is not offered
        with pytest.raises(ZoovetError, match=r"zoo\.json.* not all of its shards say that they") as caught:
            build_zoo(tiny_recipe, zoo_copy, repair=repair)
        assert "--repair-zoo" not in str(caught.value)
    assert contents(zoo_copy) == before


def test_a_folder_where_a_file_belongs_is_moved_aside(tiny_recipe: TrojanRecipe, tiny_zoo: Zoo, zoo_copy: Path) -> None:
    for name in (FIRST, "zoo.json"):
        in_place(zoo_copy, name, Path.mkdir)
        (zoo_copy / name / "kept").touch()
    (zoo_copy / f"{FIRST}.aside-1").touch()  # from an earlier time
    with pytest.warns(UserWarning, match=rf"the folder .* it is now .*(zoo\.json\.aside-1|{FIRST}\.aside-2)$") as said:
        build_zoo(tiny_recipe, zoo_copy, repair=True, runner=Inline())
    assert len(said) == 2
    assert (zoo_copy / f"{FIRST}.aside-2" / "kept").exists()
    assert {name: zoo for name, zoo in contents(zoo_copy).items() if ".aside-" not in name} == contents(tiny_zoo.path)


def test_shards_of_a_killed_build_are_kept_where_they_can_be_checked(
    tiny_recipe: TrojanRecipe, tiny_zoo: Zoo, zoo_copy: Path
) -> None:
    forget(zoo_copy, SECOND, THIRD)
    times = {name: (zoo_copy / name).stat().st_mtime_ns for name in (SECOND, THIRD)}
    build_zoo(tiny_recipe, zoo_copy, runner=Inline())
    assert contents(zoo_copy) == contents(tiny_zoo.path)
    assert times == {name: (zoo_copy / name).stat().st_mtime_ns for name in (SECOND, THIRD)}


def test_those_of_an_earlier_versions_killed_build_are_made_again(tiny_recipe: TrojanRecipe, zoo_copy: Path) -> None:
    without_label(zoo_copy / FIRST)  # in zoo.json: its checksum is known, and it stays
    bless(zoo_copy)
    without_label(zoo_copy / SECOND, lambda rows: rows[0].update(train_loss=-1.0))
    forget(zoo_copy, SECOND)
    builder, recipe = builder_of(tiny_recipe, None), ZooInfo.read(zoo_copy).recipe
    with growing_zoo(
        zoo_copy, graphs=builder.graphs, recipe=recipe, num_shards=3, mismatch=builder.mismatch
    ) as growing:
        assert growing.missing == [1]


@pytest.mark.parametrize("left", [[], [LOCK_NAME], [".zoo.json.abcdefgh.partial"]])
def test_a_build_that_was_killed_in_its_first_moments_goes_on(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        (tmp_path / name).touch()
    recipe: dict[str, Any] = {"kind": "trojan"}
    with growing_zoo(tmp_path, graphs={}, recipe=recipe, num_shards=2, mismatch=lambda index, facts: "") as growing:
        assert growing.missing == [0, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["zoo.json"]


def test_a_second_build_is_told_and_harms_nothing(tiny_recipe: TrojanRecipe, zoo_copy: Path) -> None:
    with folder_lock(zoo_copy, "built"):
        before = contents(zoo_copy)
        with pytest.raises(ZoovetError, match=rf"copy is being built by process {os.getpid()} on .* wait for it"):
            build_zoo(tiny_recipe, zoo_copy)
        assert contents(zoo_copy) == before


def test_a_zoo_with_another_zoos_shard_or_a_network_twice_is_not_opened(zoo_copy: Path) -> None:
    swap(zoo_copy)
    bless(zoo_copy)
    with pytest.raises(ZoovetError, match=f"{FIRST} is shard 1 of this zoo; run the command .* with --repair-zoo"):
        Zoo.open(zoo_copy, verify=True)
    shutil.copy(zoo_copy / FIRST, zoo_copy / SECOND)
    for name in (FIRST, SECOND):
        without_label(zoo_copy / name)
    bless(zoo_copy)
    with pytest.raises(ZoovetError, match="a network is in two of its shards"):
        Zoo.open(zoo_copy, verify=True)


def test_no_flipped_bit_of_a_shard_is_taken_for_whole(tiny_zoo: Zoo) -> None:
    data = (tiny_zoo.path / FIRST).read_bytes()
    label, is_intact = label_of(data)
    assert is_intact
    assert label is not None
    assert (label.recipe, label.index) == (recipe_fingerprint(tiny_zoo.recipe), 0)
    for place in np.random.default_rng(0).choice(len(data), 300, replace=False):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        assert label_of(bytes(changed))[1] is not True


def test_a_name_that_no_folder_can_have_is_one_line(tiny_recipe: TrojanRecipe, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"cannot write into .*: File name too long; give another --out"):
        build_zoo(tiny_recipe, tmp_path / ("x" * 300))
