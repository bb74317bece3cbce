"""A model loaded so that what its matrices are multiplied with can be read: the one that is to become smaller. Knows no measure."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from edgerun import machine
from edgerun.api import Progress
from edgerun.backends.executor import Replaceable
from edgerun.blueprint import MAX_ROWS, Blueprint, Options
from edgerun.engine.fit import fit
from edgerun.engine.kvcache import pages_for
from edgerun.engine.session import Session
from edgerun.gguf import open_gguf
from edgerun.graph.taps import tapped
from edgerun.text.tokenizer import tokenizer_from
from quant.light import lightened

_TAPS = 256 << 20      # bytes that the copies of inputs may take,
_FEWEST_ROWS = 16      # unless fewer rows than these would go into a step


class Source:
    """An open model with its session and tokenizer. A context manager.

    taps: where the inputs of its matrices lie after each step. tensors: what the session computes with.
    """

    def __init__(
        self, path: Path, context: int, threads: int | None = None, options: Options | None = None, progress: Progress | None = None, light: bool = False
    ) -> None:
        """Load a model file for texts of `context` tokens. light: matrices of floats as Q8_0. The errors are those of `edgerun.load`."""
        use = machine.threads(threads)
        with ExitStack() as opened:
            self.file = opened.enter_context(open_gguf(path))
            blueprint = Blueprint.of(self.file, options or Options())
            program, self.taps = tapped(blueprint.program)
            row = 4 * (sum(program.buffers.values()) - sum(blueprint.program.buffers.values()))
            rows = max(_FEWEST_ROWS, min(MAX_ROWS, _TAPS // row)) if row else MAX_ROWS
            self.tensors = lightened(self.file.tensors) if light else self.file.tensors
            computed = dataclasses.replace(self.file, tensors=self.tensors)
            blueprint = dataclasses.replace(blueprint, file=computed, program=program, max_rows=rows)
            found = fit(blueprint.plan, context, blueprint.spec.context, machine.memory(), blueprint.spec.longest)
            self.tokenizer = tokenizer_from(self.file.metadata)
            executor = blueprint.compile(pages_for(found.context), use.count, progress)
            opened.callback(executor.close)
            self.executor = cast(Replaceable, executor)   # backends of `Options` are the CPU and the reference
            self.session = Session(executor, found.context, chunk=rows, writes=blueprint.spec.writes)   # nobody waits for a token
            self._opened = opened.pop_all()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()
