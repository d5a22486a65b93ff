"""Every bad input but damaged weight files, by its message."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from zoovet.cli.main import main


def test_an_unknown_key_names_the_nearest_known_one(place: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    out = tmp_path / "out"
    build = ["build", place / "recipe.yaml", "--out", out]
    assert refused(*build, "--num_base", "3") == "--num_base: unknown key 'num_base'; did you mean 'num_bases'?"
    train = ["train", place / "detection.yaml", "--out", out]
    assert refused(*train, "--metanetwork.widht", "3").endswith("did you mean 'metanetwork.width'?")
    assert refused(*train, "--dat.zoo", "z") == "--dat.zoo: unknown key 'dat.zoo'; did you mean 'data.zoo'?"
    (tmp_path / "typo.yaml").write_text(
        (place / "recipe.yaml").read_text(encoding="utf-8").replace("min_asr", "minasr"), encoding="utf-8"
    )
    typo = refused("build", tmp_path / "typo.yaml", "--out", out)
    assert typo == f"{tmp_path / 'typo.yaml'}: unknown key 'minasr'; did you mean 'min_asr'?"
    assert not out.exists()


def test_a_wrong_type_names_the_key_and_what_is_expected(
    place: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    out = tmp_path / "out"
    build = refused("build", place / "recipe.yaml", "--out", out, "--num_bases", "many")
    assert build == "--num_bases: 'num_bases' must be an integer, got 'many' (text)"
    train = refused("train", place / "repair.yaml", "--out", out, "--training.max_steps=1.5")
    assert train == "--training.max_steps: 'training.max_steps' must be an integer, got 1.5 (a number)"
    assert not out.exists()


def test_processes_are_no_choice_for_every_task(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "strangers.yaml").write_text("task: strangers\ndata: {zoo: z}\n", encoding="utf-8")
    message = refused("train", tmp_path / "strangers.yaml", "--out", tmp_path / "out", "--processes", "2")
    assert message.startswith("--processes is no choice for the task strangers")
    assert "--data.workers N" in message


def test_a_task_that_is_missing_or_unknown(place: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "none.yaml").write_text("data: {zoo: z}\n", encoding="utf-8")
    words = ["train", tmp_path / "none.yaml", "--out", tmp_path / "out"]
    tasks = "detection or repair or inr_classification or inr_editing or generalization or strangers"
    assert refused(*words) == f"{tmp_path / 'none.yaml'}: the key 'task' is missing; it takes {tasks}"
    for kind in ("[a]", "{a: 1}", "5"):
        (tmp_path / "odd.yaml").write_text(f"task: {kind}\nkind: {kind}\n", encoding="utf-8")
        assert "kind " in refused("build", tmp_path / "odd.yaml", "--out", tmp_path / "out")
        assert "task " in refused("train", tmp_path / "odd.yaml", "--out", tmp_path / "out")
    assert refused(*words, "--task", "detecton").endswith("task 'detecton' is unknown; did you mean 'detection'?")


def test_a_zoo_that_is_none_or_not_given(place: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    words = ["train", place / "detection.yaml", "--out", tmp_path / "out"]
    assert "is not a zoo: it has no zoo.json" in refused(*words, "--data.zoo", tmp_path)
    (tmp_path / "bare.yaml").write_text("task: detection\n", encoding="utf-8")
    bare = refused("train", tmp_path / "bare.yaml", "--out", tmp_path / "out")
    assert bare.endswith("the key 'data.zoo' is missing; it takes a path")
    assert not (tmp_path / "out").exists()


def test_detector_and_repairer_are_not_taken_for_one_another(
    place: Path, suspect: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert "holds a repairer, but a detector is needed" in refused("scan", suspect, "--detector", place / "repairer")
    assert "there is no file or folder" in refused("scan", suspect, "--detector", tmp_path / "none")


@pytest.mark.parametrize("damage", ["truncated", "changed"])
@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_a_damaged_shard_is_named(
    verb: str, damage: str, place: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    shutil.copytree(place / "zoo", tmp_path / "zoo")
    shard = tmp_path / "zoo" / "shard-00001.parquet"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content[:-100] if damage == "truncated" else content)
    out = tmp_path / "out"
    if verb == "train":
        words = ["train", place / "detection.yaml", "--data.zoo", tmp_path / "zoo", "--out", out]
    else:
        words = ["evaluate", place / "detector", "--zoo", tmp_path / "zoo", "--out", out]
    complaint = refused(*words)
    what = "is truncated or changed" if damage == "truncated" else "has the wrong checksum"
    assert complaint.startswith(f"the shard {shard} {what}")
    assert list(out.glob("*")) == []


def test_a_zoo_without_poisoned_networks_cannot_teach_detection(
    place: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    words = ["build", place / "recipe.yaml", "--out", tmp_path / "healthy", "--poisoned=false", "--num_bases=4"]
    assert main([str(word) for word in words]) == 0
    train = ["train", place / "detection.yaml", "--data.zoo", tmp_path / "healthy", "--out", tmp_path / "out"]
    assert re.search(r"zoo .*healthy has no poisoned networks", refused(*train))


def test_an_unwritable_or_foreign_place_is_refused_before_the_work_starts(
    place: Path, suspect: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "file").touch()
    inside = tmp_path / "file" / "out"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    for words in (
        ["build", place / "recipe.yaml"],
        ["train", place / "detection.yaml"],
        ["evaluate", place / "detector"],
        ["demo"],
    ):
        assert f"cannot write into {inside}: Not a directory; give another --out" == refused(*words, "--out", inside)
        assert str(tmp_path / "full") in refused(*words, "--out", tmp_path / "full")
    repair = ["repair", suspect, "--repairer", place / "repairer", "--out", inside / "healed.safetensors"]
    assert f"cannot write into {inside}: Not a directory" in refused(*repair)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_a_zoo_of_another_recipe_is_not_continued(place: Path, refused: Callable[..., str]) -> None:
    complaint = refused("build", place / "recipe.yaml", "--out", place / "zoo", "--seed", "2")
    assert complaint.startswith(f"{place / 'zoo'} holds a zoo of another recipe: seed is 1 there, 2 here")


def test_runs_are_not_evaluated_on_networks_they_may_have_been_trained_on(
    place: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    words = ["build", place / "recipe.yaml", "--out", tmp_path / "other", "--num_bases", "8", "--seed", "1"]
    assert main([str(word) for word in words]) == 0
    complaint = refused("evaluate", place / "detector", "--zoo", tmp_path / "other", "--out", tmp_path / "out")
    assert "was not trained on the training networks of" in complaint
    twice = refused("evaluate", place / "detector", place / "detector", "--out", tmp_path / "out")
    assert "are both detectors" in twice
