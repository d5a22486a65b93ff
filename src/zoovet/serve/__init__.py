"""A server for the browser next door: a page over vetting, and an endpoint for programs."""

from __future__ import annotations

from zoovet.serve.access import LOOPBACK_NAMES, Access
from zoovet.serve.app import create_app
from zoovet.serve.config import ServeConfig
from zoovet.serve.job_queue import JobQueue

__all__ = ["LOOPBACK_NAMES", "Access", "JobQueue", "ServeConfig", "create_app"]
