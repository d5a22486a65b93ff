"""A zoo in a bucket: the same files as in a folder, one build at a time, and whole shards or none."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from zoovet.errors import ZoovetError
from zoovet.files import StorageError
from zoovet.jobs import Inline
from zoovet.zoo import TrojanRecipe, Zoo, build_zoo, stores
from zoovet.zoo.stores import Store, address_of, held_store, local_folder, mirrored

ADDRESS = "s3://bucket/zoos/tiny"


class Bucket(MemoryFileSystem):
    """A store of its own, which tells of buckets that are not there and may forbid writing."""

    protocol = "s3"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    forbids: ClassVar[bool] = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> Any:
        if self.forbids:
            raise PermissionError("Access Denied")
        if mode == "create" and self.exists(path):
            raise FileExistsError(path)
        return super().pipe_file(path, value, **options)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    monkeypatch.setitem(import_module("fsspec.registry")._registry, "s3", Bucket)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(stores, "_SETTLING_SECONDS", 0.0)
    Bucket.store.clear()
    system = Bucket(skip_instance_cache=True)
    system.pipe_file("/bucket/other.txt", b"")
    return system


def put(system: Any, folder: Path) -> None:
    for path in folder.iterdir():
        system.pipe_file(f"/bucket/zoos/tiny/{path.name}", path.read_bytes())


def there(system: Any, root: str = "/bucket/zoos/tiny") -> dict[str, bytes]:
    return {path.rsplit("/")[-1]: system.cat_file(path) for path in system.find(root)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_addresses_are_told_from_folders() -> None:
    assert address_of(Path("s3://bucket/zoo/")) == address_of("s3://bucket/zoo") == "s3://bucket/zoo"
    assert address_of("zoos/s3") is address_of(Path("/s3:/bucket")) is None
    assert local_folder("zoos/mine", "built") == Path("zoos/mine")
    assert local_folder(ADDRESS, "built") != local_folder(ADDRESS, "read")


def test_a_zoo_that_is_there_is_opened_and_brought_here_once(bucket: Bucket, tiny_zoo: Zoo) -> None:
    put(bucket, tiny_zoo.path)
    zoo = Zoo.open(Path(ADDRESS), verify=True)
    np.testing.assert_array_equal(zoo.weights(), tiny_zoo.weights())
    stamps = {path: path.stat().st_mtime_ns for path in zoo.path.glob("shard-*")}
    Zoo.open(ADDRESS)
    assert {path: path.stat().st_mtime_ns for path in zoo.path.glob("shard-*")} == stamps
    next(iter(stamps)).write_bytes(b"damaged")
    assert contents(mirrored(ADDRESS)) == contents(tiny_zoo.path)


def test_an_unfinished_zoo_there_is_finished_with_the_same_bytes(
    bucket: Bucket, tiny_recipe: TrojanRecipe, tiny_zoo: Zoo
) -> None:
    """As a build leaves it that was killed on another machine: a shard more than zoo.json lists."""
    put(bucket, tiny_zoo.path)
    info = json.loads((tiny_zoo.path / "zoo.json").read_text())
    info["shards"] = info["shards"][:1]
    bucket.pipe_file("/bucket/zoos/tiny/zoo.json", json.dumps(info).encode())
    bucket.rm_file("/bucket/zoos/tiny/shard-00002.parquet")
    build_zoo(tiny_recipe, ADDRESS, runner=Inline())
    assert there(bucket) == contents(tiny_zoo.path)


def test_a_shard_is_there_before_zoo_json_lists_it(
    bucket: Bucket, tiny_recipe: TrojanRecipe, tiny_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, tiny_zoo.path)
    info = json.loads((tiny_zoo.path / "zoo.json").read_text())
    bucket.rm_file("/bucket/zoos/tiny/shard-00002.parquet")
    info["shards"] = info["shards"][:2]
    bucket.pipe_file("/bucket/zoos/tiny/zoo.json", json.dumps(info).encode())
    pushed = list[str]()
    true_push = Store.push
    monkeypatch.setattr(Store, "push", lambda own, name: (pushed.append(name), true_push(own, name)))
    build_zoo(tiny_recipe, ADDRESS, runner=Inline())
    assert pushed == ["shard-00002.parquet", "zoo.json"]


def test_a_second_build_is_refused_and_a_dead_ones_lock_is_taken_over(
    bucket: Bucket, tiny_recipe: TrojanRecipe, tiny_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, tiny_zoo.path)
    with (
        held_store(ADDRESS),
        pytest.raises(ZoovetError, match=r"s3://bucket/zoos/tiny is being built by process \d+ on"),
    ):
        build_zoo(tiny_recipe, ADDRESS)
    assert set(there(bucket)) == set(contents(tiny_zoo.path))
    lock = "/bucket/zoos/tiny/.zoovet.lock"
    bucket.pipe_file(lock, json.dumps({"process": "000000000000-1-1", "token": "x", "pid": 7, "host": "far"}).encode())
    with pytest.raises(ZoovetError, match="is being built by process 7 on far"):
        build_zoo(tiny_recipe, ADDRESS)
    monkeypatch.setattr(stores, "SECONDS_UNTIL_STALE", -1.0)
    build_zoo(tiny_recipe, ADDRESS, runner=Inline())
    assert not bucket.exists(lock)


def test_who_was_taken_over_writes_no_more(bucket: Bucket, tiny_zoo: Zoo) -> None:
    put(bucket, tiny_zoo.path)
    with held_store(ADDRESS) as store:
        bucket.pipe_file("/bucket/zoos/tiny/.zoovet.lock", b'{"token": "other", "pid": 7}')
        with pytest.raises(StorageError, match="cannot go on in s3://bucket/zoos/tiny: it was taken over by process 7"):
            store.push("zoo.json")
    assert bucket.exists("/bucket/zoos/tiny/.zoovet.lock")


def test_places_that_cannot_be(bucket: Bucket, tiny_recipe: TrojanRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZoovetError, match=r"s3://bucket/zoos/none is not a zoo: it has no zoo.json"):
        Zoo.open("s3://bucket/zoos/none")
    with pytest.raises(ZoovetError, match="s3://bucket is a bucket; say where in it: s3://bucket/NAME"):
        build_zoo(tiny_recipe, "s3://bucket")
    bucket.pipe_file("/bucket/thesis/text.tex", b"mine")
    with pytest.raises(ZoovetError, match="s3://bucket/thesis is not empty and holds no zoo; give another place"):
        build_zoo(tiny_recipe, "s3://bucket/thesis")
    monkeypatch.setattr(Bucket, "forbids", True)
    with pytest.raises(StorageError, match="s3://bucket/zoos/new cannot be written: Access Denied"):
        build_zoo(tiny_recipe, "s3://bucket/zoos/new")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_same_over_amazons_protocol(s3: Any, tiny_recipe: TrojanRecipe, tiny_zoo: Zoo) -> None:
    build_zoo(tiny_recipe, ADDRESS, workers=2)
    assert there(s3, "bucket/zoos/tiny") == contents(tiny_zoo.path)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents(Zoo.open(ADDRESS).path).items()}
    assert digests == {name: hashlib.sha256(data).hexdigest() for name, data in contents(tiny_zoo.path).items()}
    with held_store(ADDRESS), pytest.raises(ZoovetError, match=r"is being built by process \d+ on"):
        build_zoo(tiny_recipe, ADDRESS)
    with pytest.raises(ZoovetError, match=r"s3://nowhere/zoo cannot be read: The specified bucket does not exist"):
        build_zoo(tiny_recipe, "s3://nowhere/zoo")
    with pytest.raises(ZoovetError, match=r"s3://nowhere/zoo cannot be read: The specified bucket does not exist"):
        Zoo.open("s3://nowhere/zoo")


class _Forbidding(http.server.BaseHTTPRequestHandler):
    """Amazon's answer to whoever has no rights."""

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _refuse

    def log_message(self, *_: Any) -> None:
        return


@pytest.mark.filterwarnings("default")
def test_a_bucket_without_rights_is_one_line(tiny_recipe: TrojanRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Forbidding)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(ZoovetError, match=r"^s3://theirs/zoo cannot be read: Access Denied$"):
            build_zoo(tiny_recipe, "s3://theirs/zoo")
        with pytest.raises(ZoovetError, match=r"^s3://theirs/zoo cannot be read: "):
            Zoo.open("s3://theirs/zoo")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.shutdown()
        server.server_close()
