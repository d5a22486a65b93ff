"""A Ray cluster does jobs as processes do; an address that does not answer is said at once."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.jobs import Done, Lost, RayCluster, ray_workers
from zoovet.zoo import TrojanRecipe, build_zoo

ray = pytest.importorskip("ray")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_workers, "_ANSWER_SECONDS", 0.3)


@pytest.mark.usefixtures("impatient")
def test_an_address_that_does_not_answer() -> None:
    with pytest.raises(ZoovetError, match=r"no Ray cluster answers at 127.0.0.1:1 within 0 s; start one there"):
        RayCluster("127.0.0.1:1").connect()
    with pytest.raises(ZoovetError, match="--ray takes HOST:PORT or ray://HOST:PORT, got head"):
        RayCluster("head").connect()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        return


@pytest.mark.usefixtures("impatient")
def test_somebody_else_who_listens_there() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ZoovetError, match="no Ray cluster answers at"):
            RayCluster(f"127.0.0.1:{server.server_port}").connect()
    finally:
        server.shutdown()
        server.server_close()


def test_an_actor_says_what_it_told_and_what_came_of_it(works: Any, tmp_path: Path) -> None:
    actor = ray_workers._Actor()
    work = ray_workers.pickle.dumps(works.Squares(tmp_path))
    (ready,) = map(ray_workers.pickle.loads, actor.begin(work, os.getcwd(), ray_workers._versions()))
    assert ready == ray_workers.Ready()
    told, answer = map(ray_workers.pickle.loads, actor.do(ray_workers.pickle.dumps(3)))
    assert (told.said, answer.result) == (("at", 3), 9)
    _, refused = map(ray_workers.pickle.loads, actor.do(ray_workers.pickle.dumps(13)))
    assert str(refused.error) == "13 is refused"


def test_a_machine_with_another_version_is_refused(works: Any, tmp_path: Path) -> None:
    others = {**ray_workers._versions(), "torch": "1.0"}
    (raised,) = map(ray_workers.pickle.loads, ray_workers._Actor().begin(b"", os.getcwd(), others))
    assert " and this machine 1.0; all machines of the cluster need the same" in str(raised.error)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_zoo_has_the_same_bytes_though_a_node_is_killed_in_the_middle(
    cluster: Any, small_zoo: dict[str, Any], tmp_path: Path
) -> None:
    recipe = read_config(TrojanRecipe, small_zoo | {"num_bases": 12, "bases_per_shard": 1})
    shards = list[int]()

    def progress(seen: Any) -> None:
        shards.append(seen.num_networks)
        if cluster.second is not None and seen.num_networks >= 8:
            cluster.remove_node(cluster.second, allow_graceful=False)
            cluster.second = None

    build_zoo(recipe, tmp_path / "cluster", runner=RayCluster(cluster.address), progress=progress)
    assert cluster.second is None
    assert shards[-1] == 24
    build_zoo(recipe, tmp_path / "here", workers=2)
    assert _digests(tmp_path / "cluster") == _digests(tmp_path / "here")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_cluster_does_jobs_as_processes_do(cluster: Any, tmp_path: Path) -> None:
    heard = list[Any]()
    with RayCluster(cluster.address).crew(_Halves()) as crew:
        found = list(crew.outcomes([2, 4, None, 6], tell=heard.append))
        lost = list(crew.outcomes([0], instead=lambda job, num_deaths: []))
    assert sorted(outcome.job for outcome in found) == [2, 4, 6]
    assert all(isinstance(outcome, Done) and outcome.result == outcome.job // 2 for outcome in found)
    assert sorted(heard) == [2, 4, 6]
    assert isinstance(lost[0], Lost)
    assert "its process ended: " in lost[0].cause


class _Halves:
    """Halves; 0 ends its process. By ``__reduce__`` it needs no module of this name on the cluster."""

    def __reduce__(self) -> Any:
        source = (
            "class Halves:\n"
            "    def start(self):\n"
            "        return self.halve\n"
            "    def halve(self, job, tell):\n"
            "        import os\n"
            "        tell(job)\n"
            "        return job // 2 if job else os._exit(3)\n"
        )
        return eval, (f"(lambda space: (exec({source!r}, space), space['Halves']())[1])({{}})",)

    def start(self) -> Any:
        raise AssertionError


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
