"""Floor 1: getting model files. From a name, a hub repository, a URL or a path to a file on this machine."""

from __future__ import annotations

from edgerun.hub.resolver import entry_of, resolve

__all__ = ["entry_of", "resolve"]
