"""Weight files beside a table: what it says is kept, what it does not say stays unknown; what is wrong is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import zoovet
from zoovet.errors import ZoovetError
from zoovet.networks import Networks
from zoovet.zoo import Zoo
from zoovet.zoo.importers import ImportOptions, import_zoo, open_published

NUM_FILES = 6


def net(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    """Six state dicts, one of them in a folder of its own."""
    for seed in range(NUM_FILES):
        place = tmp_path / "nets" / ("id-5/model.pt" if seed == 5 else f"n{seed}.pt")
        place.parent.mkdir(parents=True, exist_ok=True)
        torch.save(net(seed).state_dict(), place)
    return tmp_path / "nets"


@pytest.fixture
def read() -> Callable[[Path], Networks]:
    def networks_in(path: Path) -> Networks:
        network = zoovet.read(path, architecture="mlp:activation=relu", input_shape=(1, 3, 4))
        assert network.networks is not None
        return network.networks

    return networks_in


def table(folder: Path, text: str) -> Path:
    (folder.parent / "labels.csv").write_text(text)
    return folder.parent / "labels.csv"


WHOLE = """Model_Name;trojaned;target_class;Accuracy;asr;split;parent;colour
n0.pt;1;2;0.9;0.99;train;a;red
n1;0;;0.8;;train;a;
n2.pt;;;;;val;b;
n3.pt;unknown;?;nan;;test;c;
id-5;false;0;1;0;test;d;
"""


def test_what_a_table_says_is_kept_and_the_rest_is_unknown(nets: Path, read, tmp_path: Path) -> None:
    options = ImportOptions(table=table(nets, WHOLE), read=read, dataset="rings")
    published = open_published("folder", nets, options)
    zoo = import_zoo(published, tmp_path / "zoo")
    assert published.remarks == (
        "5 networks of 1 graph: 1 trojaned, 2 healthy, 2 unknown",
        "1 weight files are not in the table, left out: n4.pt",
        "columns of the table that a zoo has not, left out: colour",
    )
    assert list(zoo.column("network_id")) == ["n0.pt", "n1.pt", "n2.pt", "n3.pt", "id-5/model.pt"]
    assert list(zoo.labelled) == [True, True, False, False, True]
    assert list(zoo.select(zoo.labelled).column("poisoned")) == [True, False, False]
    assert list(zoo.column("target")) == [2, -1, -1, -1, 0]
    np.testing.assert_array_equal(zoo.column("clean_accuracy"), [0.9, 0.8, np.nan, np.nan, 1.0])
    assert list(zoo.column("split")) == ["train", "train", "validation", "test", "test"]
    assert list(zoo.column("base_id")) == [0, 0, 1, 2, 3]
    assert set(zoo.column("dataset")) == {"rings"}
    assert list(zoo.sibling_places()) == [1, 0, -1, -1, -1]
    images = zoovet.Images(pixels=torch.randint(256, (4, 1, 3, 4), dtype=torch.uint8))
    for place, seed in enumerate((0, 1, 2, 3, 5)):
        expected = net(seed)(images.scaled())
        torch.testing.assert_close(zoovet.run(zoo.networks([place]), images.scaled())[0], expected)


def test_a_table_without_labels_or_none_at_all_labels_nothing(nets: Path, read, tmp_path: Path) -> None:
    for name, options in (
        ("none", ImportOptions(read=read)),
        ("files", ImportOptions(read=read, table=table(nets, "file\n" + "".join(f"n{k}\n" for k in range(5))))),
    ):
        zoo = import_zoo(open_published("folder", nets, options), tmp_path / name)
        assert not zoo.labelled.any()
        with pytest.raises(ZoovetError, match=f"does not say of {len(zoo)} of {len(zoo)} networks whether"):
            zoo.column("poisoned")
        assert set(zoo.column("split")) <= {"train", "validation", "test"}


def test_columns_of_other_names_are_said(nets: Path, read, tmp_path: Path) -> None:
    text = "where,bad,trojaned\nn0.pt,1,0\nn1.pt,0,1\n"
    options = ImportOptions(read=read, table=table(nets, text), columns=(("file", "where"), ("poisoned", "bad")))
    zoo = import_zoo(open_published("folder", nets, options), tmp_path / "zoo")
    assert list(zoo.column("poisoned")) == [True, False]


def test_the_same_import_gives_the_same_bytes(nets: Path, read, tmp_path: Path) -> None:
    options = ImportOptions(table=table(nets, WHOLE), read=read)
    for name in ("one", "other"):
        import_zoo(open_published("folder", nets, options), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()
    (tmp_path / "one" / "zoo.json").unlink()
    with pytest.raises(ZoovetError):
        Zoo.open(tmp_path / "one")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,poisoned\nn0.pt,1\n", r"has no column 'file' .*, it has name, poisoned; .*: --column file="),
        ("file,poisoned\nn9.pt,1\nn8.pt,0\n", r"line 2: n9\.pt is no file in .*nets, and 1 more of its files are not"),
        ("file\n../labels.csv\n", r"line 2: \.\./labels\.csv is no file in"),
        ("file\nn0.pt\nn1.pt\nn0\n", r"lines 2 and 4 both name n0\.pt"),
        ("file,poisoned\nn0.pt,2\n", r"line 2: poisoned is '2', expected is 1 or 0, true or false, or nothing"),
        ("file,accuracy\nn0.pt,93.5\n", r"line 2: accuracy is '93\.5', expected is a share in 0 to 1"),
        ("file,target\nn0.pt,-1\n", r"line 2: target is '-1', expected is a whole number, or nothing"),
        ("file,epochs\nn0.pt,1.5\n", r"line 2: epochs is '1\.5', expected is a whole number"),
        ("file,loss\nn0.pt\n", r"line 2: 1 values, but the header has 2 names"),
        ("file,poisoned\n\n,1\n", r"line 3: no file is named"),
        ("file\n", "has a header, but no networks"),
        ("", "has no column 'file' .*, it has none"),
        ("path,model,poisoned\nn0,n0,1\n", "'path' and 'model' may both be file; say which: --column file=NAME"),
        ("file,split\nn0.pt,train\nn1.pt,\n", r"n1\.pt \(row 1\) has no split, though others have; expected train"),
        ("file,split,base\nn0.pt,train,a\nn1.pt,test,a\n", r"n1\.pt \(row 1\) is in test, another .* base in train"),
    ],
)
def test_bad_tables(nets: Path, read, text: str, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        open_published("folder", nets, ImportOptions(table=table(nets, text), read=read))


def test_bad_folders_and_options(nets: Path, read, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZoovetError, match="empty has no weight files"):
        open_published("folder", tmp_path / "empty", ImportOptions(read=read))
    with pytest.raises(ZoovetError, match="nowhere does not exist or is no folder"):
        open_published("folder", tmp_path / "nowhere", ImportOptions(read=read))
    with pytest.raises(ZoovetError, match=r"needs to be told how files are read: ImportOptions\(read"):
        open_published("folder", nets)
    misspelt = ImportOptions(table=table(nets, WHOLE), read=read, columns=(("posoned", "trojaned"),))
    with pytest.raises(ZoovetError, match="'posoned' is no column of a zoo; did you mean 'poisoned'"):
        open_published("folder", nets, misspelt)
    (nets / "n1.pt").write_bytes(b"no weights")
    with pytest.raises(ZoovetError, match=r"n1\.pt"):
        open_published("folder", nets, ImportOptions(table=table(nets, WHOLE), read=read))
