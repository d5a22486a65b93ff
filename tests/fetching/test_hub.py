from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import constants

from zoovet import ZoovetError
from zoovet.fetching.hub import HubAddress, in_hub

NAME = "own/net"
SAFE, PICKLE = b"safe tensors", b"a pickle"


def test_addresses_are_read() -> None:
    assert HubAddress.parse("hf://a/b.c") == HubAddress(repository="a/b.c", revision=None, file=None)
    address = HubAddress.parse("hf://a/b@v1/onnx/x.onnx")
    assert address == HubAddress(repository="a/b", revision="v1", file="onnx/x.onnx")
    assert address.of("y") == "hf://a/b@v1/y"
    for odd in ("hf://a", "hf:///a/b", "hf://a b/c", "hf://a/b@"):
        with pytest.raises(ZoovetError, match="must be hf://OWNER/NAME, hf://OWNER/NAME@REVISION or …/FILE"):
            HubAddress.parse(odd)


def test_safetensors_come_before_pickles_and_what_is_left_out_is_said(hub: Any) -> None:
    hub.repositories[NAME] = {
        "README.md": b"# net",
        "model.safetensors": SAFE,
        "onnx/model.onnx": b"onnx",
        "pytorch_model.bin": PICKLE,
        "tf_model.h5": b"h5",
    }
    found = in_hub(f"hf://{NAME}@v1", offline=False)
    assert [(file.name, file.path.read_bytes()) for file in found.files] == [
        (f"hf://{NAME}@v1/model.safetensors", SAFE),
        (f"hf://{NAME}@v1/onnx/model.onnx", b"onnx"),
    ]
    why = "there are safetensors or ONNX files; give its whole address to have it scanned"
    assert {(one.name.rpartition("/")[2], one.reason) for one in found.skipped} == {
        ("pytorch_model.bin", why),
        ("tf_model.h5", why),
        ("net@v1", "1 file whose name is no weight file's: 1 .md"),
    }
    assert not any("telemetry" in line or "README" in line or ".bin" in line for line in hub.asked)
    (file,) = in_hub(f"hf://{NAME}/pytorch_model.bin", offline=False).files
    assert file.path.read_bytes() == PICKLE


def test_pickles_are_taken_where_there_is_nothing_else(hub: Any) -> None:
    hub.repositories[NAME] = {"pytorch_model.bin": PICKLE, "training_args.bin": PICKLE}
    assert len(in_hub(f"hf://{NAME}", offline=False).files) == 2


def test_parts_are_fetched_beside_their_index(hub: Any) -> None:
    parts = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    hub.repositories[NAME] = {"model.safetensors.index.json": b"{}", parts[0]: b"1", parts[1]: b"2", "a.bin": PICKLE}
    (file,) = in_hub(f"hf://{NAME}", offline=False).files
    assert file.path.name == "model.safetensors.index.json"
    assert [(file.path.parent / part).read_bytes() for part in parts] == [b"1", b"2"]


def test_offline_only_the_cache_is_looked_at(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories[NAME] = {"model.safetensors": SAFE}
    with pytest.raises(ZoovetError, match="is not in the hub's cache, and nothing is fetched offline"):
        in_hub(f"hf://{NAME}", offline=True)
    assert hub.asked == []
    in_hub(f"hf://{NAME}", offline=False)
    hub.asked.clear()
    (file,) = in_hub(f"hf://{NAME}", offline=True).files
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (same,) = in_hub(f"hf://{NAME}", offline=False).files
    assert (file.path.read_bytes(), same) == (SAFE, file)
    assert hub.asked == []


def test_a_file_that_is_not_what_the_hub_says_is_refused(hub: Any) -> None:
    hub.repositories[NAME] = {"model.safetensors": SAFE}
    hub.broken.add("model.safetensors")
    with pytest.raises(ZoovetError, match="is not what the hub says it is: remove /"):
        in_hub(f"hf://{NAME}", offline=False)


def test_a_file_that_was_changed_in_the_cache_is_refused(hub: Any) -> None:
    hub.repositories[NAME] = {"model.safetensors": SAFE}
    (file,) = in_hub(f"hf://{NAME}", offline=False).files
    blob = file.path.resolve()
    blob.chmod(0o644)
    blob.write_bytes(SAFE + b"!")
    with pytest.raises(ZoovetError, match="is not what the hub says it is"):
        in_hub(f"hf://{NAME}", offline=True)


def test_files_of_two_commits_are_never_mixed(hub: Any) -> None:
    hub.repositories[NAME] = {"model.safetensors": SAFE}
    hub.commit = "beef" + "0" * 36
    with pytest.raises(ZoovetError, match="the repository own/net changed while it was fetched; try again"):
        in_hub(f"hf://{NAME}", offline=False)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("hf://own/none", "there is no such repository, or it is private: log in with `hf auth login`"),
        (f"hf://{NAME}@v9", "the repository has no such revision"),
        (f"hf://{NAME}/none.onnx", "the repository has no such file"),
        (f"hf://{NAME}", "holds no weight file that is read, of 1 files"),
    ],
)
def test_what_is_not_there_is_one_line(hub: Any, address: str, said: str) -> None:
    hub.repositories[NAME] = {"README.md": b""}
    with pytest.raises(ZoovetError) as caught:
        in_hub(address, offline=False)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hub_that_is_no_https_address_is_not_asked(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://example.org")
    with pytest.raises(ZoovetError, match=r"http://example\.org is no https address"):
        in_hub(f"hf://{NAME}", offline=False)


def test_what_configuration_says_comes_with_the_files(hub: Any) -> None:
    hub.repositories[NAME] = {"model.safetensors": SAFE, "config.json": b'{"architecture": "resnet18"}'}
    (file,) = in_hub(f"hf://{NAME}", offline=False).files
    assert file.hint is not None
    assert file.hint.notes[0].startswith("config.json says timm's resnet18")


def test_telemetry_is_off(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    hub.repositories[NAME] = {"model.safetensors": SAFE}
    in_hub(f"hf://{NAME}", offline=False)
    assert constants.HF_HUB_DISABLE_TELEMETRY is True


def test_without_the_package_a_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoovet.fetching.hub.find_spec", lambda name: None)
    with pytest.raises(ZoovetError, match=r"need the package huggingface_hub: pip install 'zoovet\[hub\]'"):
        in_hub("hf://a/b", offline=False)
