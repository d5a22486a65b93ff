"""``python -m zoovet`` is the command ``zoovet``."""

from __future__ import annotations

from zoovet.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
