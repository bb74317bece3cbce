"""Every error a user can meet, and the exit code it means. Knows nothing of how it is printed (`cli/exit.py`).

    EdgerunError
    +-- UsageError        2    the request itself is wrong: an option, a name, a combination
    +-- ModelError        3    the model file cannot be used
    |   +-- GGUFError     3    not a GGUF file, or a damaged or hostile one
    |   +-- Unsupported   3    a sound file that asks for something edgerun does not compute
    |   +-- TokenizerError 3   the vocabulary in the file makes no sense
    |   +-- TemplateError 3    the chat template failed, or exceeded its bounds
    +-- OutputError       4    the answer could not be written
    +-- SourceError       5    a network or download source failed
    +-- ResourceError     6    not enough memory or disk, said before starting
    +-- DeviceError       7    the GPU that was asked for cannot be used, or failed

A message says what is wrong, where (file, byte offset, tensor, key, value) and what to do. One line, no control characters.
Any other exception is a bug.
"""

from __future__ import annotations


class EdgerunError(Exception):
    """An error with a message for the user; `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(EdgerunError):
    """The request is wrong: an unknown name, a bad option value."""

    exit_code = 2


class ModelError(EdgerunError):
    """The model file cannot be used."""

    exit_code = 3


class GGUFError(ModelError):
    """The file is not GGUF, is damaged, or claims things that cannot be true."""


class Unsupported(ModelError):
    """The file is sound but needs an architecture, a type or a feature that is not there."""


class TokenizerError(ModelError):
    """The vocabulary of the file makes no sense or is of an unknown kind."""


class TemplateError(ModelError):
    """The chat template cannot be parsed or rendered within its bounds."""


class OutputError(EdgerunError):
    """The answer could not be written (disk full, closed device)."""

    exit_code = 4


class SourceError(EdgerunError):
    """A download source failed: network, authorisation, missing file, wrong hash."""

    exit_code = 5


class ResourceError(EdgerunError):
    """Memory or disk will not suffice; said before the work starts."""

    exit_code = 6


class DeviceError(EdgerunError):
    """The GPU that was asked for cannot be used, or failed while it was computing."""

    exit_code = 7
