"""Pages: jobs as HTML. All text is escaped by the templates; what the report made is HTML already."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader
from markupsafe import Markup, escape

import zoovet
from zoovet.serve.job_queue import JobQueue
from zoovet.serve.jobs import Job, JobState, Task
from zoovet.serve.results import FRAGMENTS_NAME, REPORT_NAME

__all__ = ["Pages", "static_file"]

_ARCHITECTURES = (
    "small_cnn",
    "lenet",
    "mlp",
    "vgg",
    "resnet",
    "preact_resnet",
    "wrn",
    "mobilenet_v2",
    "densenet",
    "deepid",
    "torchvision:resnet18",
    "torchvision:resnet50",
)
_ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid")
_SCALINGS = {
    "symmetric": "[−1, 1]",
    "unit": "[0, 1]",
    "byte": "[0, 255]",
    "imagenet": "ImageNet's mean and deviation",
    "cifar10": "CIFAR-10's",
    "mnist": "MNIST's",
    "fashion_mnist": "Fashion-MNIST's",
}
_EFFORTS = {
    "quick": "quick: a first look",
    "normal": "normal: what rates of false alarms were measured with",
    "thorough": "thorough: takes several times as long",
}
_STATIC = {"serve.css": "text/css", "serve.js": "text/javascript", "style.css": "text/css"}
_WORDS = {Task.SCAN: "scan", Task.HEAL: "healing"}


class Pages:
    """Writes pages.

    Args:
        queue: Whose jobs.
    """

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._environment = Environment(
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            loader=FunctionLoader(_template),
        )
        self._environment.globals |= {"version": zoovet.__version__, "zip_same": _with_itself}
        self._environment.filters |= {"ago": _ago, "code": _with_code}

    def index(self) -> str:
        """The form, and all jobs."""
        config = self._queue.config
        return self._page(
            "index.html.j2",
            jobs=[self._row(job) for job in self._queue.jobs()],
            max_upload_bytes=config.max_upload_bytes,
            max_image_files=config.max_image_files,
            keep_minutes=config.keep_seconds // 60,
            **_CHOICES,
        )

    def job(self, job: Job) -> str:
        """One job: how far it is, what was found, what can be done next."""
        folders = self._queue.folders
        results = folders.results(job.job_id)
        path, fragments = results / FRAGMENTS_NAME, list[str]()
        if path.is_file():
            fragments = json.loads(path.read_text(encoding="utf-8"))
        return self._page(
            "job.html.j2",
            job=job,
            row=self._row(job),
            share=self._queue.share_done(job.job_id),
            shown=list(zip(job.summaries, map(Markup, fragments), strict=False)),
            has_report=(results / REPORT_NAME).is_dir(),
            has_upload=folders.has_upload(job.job_id) and job.state.has_ended,
            keep_minutes=self._queue.config.keep_seconds // 60,
            **_CHOICES,
        )

    def message(self, title: str, text: str) -> str:
        """One line, as where there is no such page."""
        return self._page("message.html.j2", title=title, text=text)

    def login(self, error: str = "") -> str:
        """Where the token is asked for."""
        return self._page("login.html.j2", error=error)

    def api(self, schema: Mapping[str, Any]) -> str:
        """The endpoint for programs, as its OpenAPI schema describes it."""
        return self._page("api.html.j2", schema=schema)

    def state(self, job: Job) -> dict[str, Any]:
        """What a page asks for while a job runs."""
        return {
            "id": job.job_id,
            "state": job.state,
            "words": _state_in_words(job),
            "doing": self._doing(job),
            "share": self._queue.share_done(job.job_id),
        }

    def _row(self, job: Job) -> dict[str, Any]:
        verdicts = sorted({summary.verdict for summary in job.summaries}, key=("trojaned unknown healthy").index)
        return {
            "job_id": job.job_id,
            "title": job.file,
            "state": job.state,
            "words": _state_in_words(job),
            "doing": self._doing(job),
            "verdicts": verdicts,
            "targets": [summary.target for summary in job.summaries if summary.target][:3],
            "created": job.created,
        }

    def _doing(self, job: Job) -> str:
        return "" if job.state.has_ended else self._queue.doing(job.job_id)

    def _page(self, name: str, **contents: Any) -> str:
        return self._environment.get_template(name).render(**contents)


_CHOICES: dict[str, Any] = {
    "architectures": _ARCHITECTURES,
    "activations": _ACTIVATIONS,
    "scalings": _SCALINGS,
    "efforts": _EFFORTS,
}


def static_file(name: str) -> tuple[str, str] | None:
    """The text of a file that pages load, and its type; ``None`` where there is none of that name."""
    if name not in _STATIC:
        return None
    home = "zoovet.evaluation.report" if name == "style.css" else "zoovet.serve"
    folder = resources.files(home) if name == "style.css" else resources.files(home).joinpath("static")
    return folder.joinpath(name).read_text(encoding="utf-8"), _STATIC[name]


def _with_itself(values: Iterable[str]) -> list[tuple[str, str]]:
    """Choices whose words are their values."""
    return [(value, value) for value in values]


def _state_in_words(job: Job) -> str:
    of = "" if job.state == JobState.FINISHED else f"{_WORDS[job.task]} "
    words = {JobState.FAILED: "failed", JobState.FINISHED: "healed" if job.task == Task.HEAL else "finished"}
    return f"{of}{words.get(job.state, job.state.value)}"


def _with_code(text: str) -> Markup:
    """A text whose words in backticks are code."""
    pieces = [escape(piece) for piece in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if i % 2 else piece for i, piece in enumerate(pieces)
    )


def _ago(seconds: float) -> str:
    """How long ago a time was."""
    minutes = int(max(0.0, time.time() - seconds) / 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def _template(name: str) -> str:
    return resources.files("zoovet.serve").joinpath(f"templates/{name}").read_text(encoding="utf-8")
