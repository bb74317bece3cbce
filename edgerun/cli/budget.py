"""What `edgerun quantize --bpw | --fit | --kl` measures before and after. Knows how to show it; the rest is in `quant.optimize`."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgerun.cli.loading import phases
from edgerun.cli.lost import lines, side_by_side
from edgerun.cli.table import size, table
from edgerun.cli.terminal import status
from edgerun.cli.windows import last, read_text
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from edgerun.gguf import GGUF
    from quant.budget import Option
    from quant.calibration import Calibration
    from quant.divergence import Divergence
    from quant.importance import Importance
    from quant.optimize import Budget, Optimum
    from quant.plan import Choices, Plan, Row

_ATTEMPTS = 4         # files written until the divergence is what it may be
_CLOSE = (0.9, 1.0)   # shares of it that will do


def budget(bits: float | None, nbytes: int | None, loss: float | None) -> Budget | None:
    """The budget that was given, if any. UsageError for two of them, or one that makes no sense."""
    given = [value for value in (bits, nbytes, loss) if value is not None]
    if not given:
        return None
    if len(given) > 1:
        raise UsageError("--bpw, --fit and --kl are three ways to say how small; give one of them")
    if not 0 < given[0] < math.inf:
        raise UsageError("a budget has to be more than nothing, as --bpw 4.5, --fit 4GB or --kl 0.02")
    from quant.optimize import Budget

    return Budget(bits, nbytes, loss)


@dataclass
class Measured:
    """What is known of a model: how much each column matters, what each matrix can become, and the text that said so."""

    budget: Budget
    decided: Mapping[str, Row]
    importance: Importance
    options: dict[str, list[Option]]
    text: Calibration
    threads: int | None
    quiet: bool
    best: Optimum | None = None
    correction: float = 1.0
    found: Divergence | None = None
    attempts: int = 0

    def plan(self, source: GGUF) -> Plan:
        """The best plan, as far as is known."""
        from quant.optimize import optimal

        self.best = optimal(source, self.budget, self.options, self.decided, self.correction)
        return self.best.plan

    def judge(self, source: GGUF, made: Path) -> Plan | None:
        """Compare the new file with its source over windows that nothing was decided by; a better plan, where it lost too much or too little."""
        held, limit = self.text.held, self.budget.loss
        positions, _ = side_by_side(str(made), str(source.path), len(held[0].tokens), lambda _: held, self.threads, self.quiet, "held-out windows:")
        self.found = positions.divergence()
        self.attempts += 1
        mean = self.found.mean
        if limit is None or self.attempts == _ATTEMPTS or not mean:
            return None
        if mean <= _CLOSE[1] * limit and (mean >= _CLOSE[0] * limit or self.attempts == _ATTEMPTS - 1):   # the last attempt might lose too much again
            return None
        before = self.best
        assert before is not None
        self.correction *= mean / before.expected / (sum(_CLOSE) / 2)
        better = self.plan(source)
        return None if self.best and self.best.chosen == before.chosen else better

    def result(self) -> str:
        """What each kind of matrix became, and what was lost."""
        assert self.found
        assert self.best
        text = self._kinds() + lines(self.found, f"{len(self.text.held)} held-out windows") + f"{'expected:':<16}{self.best.expected:.5f} nats\n"
        if self.budget.loss is not None and self.found.mean > self.budget.loss:
            text += f"more was lost than the {self.budget.loss:g} nats asked for; give a smaller --kl\n"
        return text

    def losses(self) -> dict[str, float]:
        """The nats that are expected of each matrix, in the best plan."""
        assert self.best is not None
        return {name: option.loss * self.correction for name, option in self.best.chosen.items()}

    def alternatives(self, plan: Plan) -> str:
        """The plan with the reasons: what each matrix loses, and what it would in the next smaller and the next larger type worth having."""
        from quant.budget import neighbours

        assert self.best is not None
        rows = []
        for row in plan.rows:
            name, loss, less, more = row.tensor.name, "", None, None
            if option := self.best.chosen.get(name):
                loss, (less, more) = _nats(option.loss * self.correction), neighbours(self.options[name], option)
            rows.append((name, row.tensor.type_name, row.type, size(row.nbytes), loss, self._other(less), self._other(more)))
        head = ("tensor", "from", "to", "size", "nats", "smaller", "larger")
        before = sum(row.tensor.nbytes for row in plan.rows)
        total = f"{size(plan.nbytes)} of {size(before)}, {plan.bits_per_weight:.2f} bits per weight, {self.best.expected:.5f} nats expected\n"
        return table(rows, head, right=(3, 4)) + total

    def _other(self, option: Option | None) -> str:
        return f"{option.type}: {_nats(option.loss * self.correction)}" if option else ""

    def _kinds(self) -> str:
        from quant.recipes import kind_of

        assert self.best is not None
        kinds: dict[str, Counter[str]] = {}
        losses: defaultdict[str, float] = defaultdict(float)
        for name, option in self.best.chosen.items():
            kinds.setdefault(kind_of(name), Counter())[option.type] += 1
            losses[kind_of(name)] += option.loss * self.correction
        rows = [(kind, ", ".join(f"{count} {type}" for type, count in types.most_common()), _nats(losses[kind])) for kind, types in kinds.items()]
        return table(rows, ("matrices", "became", "nats expected"), right=(2,))


def _nats(loss: float) -> str:
    return f"{loss:.6f}" if loss else "0"


def measure(path: Path, wanted: Budget, choices: Choices, given: Importance | None, file: str | None, threads: int | None, quiet: bool) -> Measured:
    """Load the model and find out what it suffers by. given: an importance matrix, which then need not be made."""
    from edgerun import machine
    from quant.calibration import Calibration, default_text
    from quant.encoders import encoders
    from quant.importance import Importance
    from quant.optimize import asked, matrices, options, refuse_impossible
    from quant.sensitivity import factors
    from quant.source import Source
    from quant.squares import squares

    text = read_text(file) if file else default_text()
    with phases(str(path), quiet) as progress:
        source = Source(path, 512, threads, progress=progress, light=True)
    with source:
        source.session.check_writes()
        decided = asked(source.file, choices)
        refuse_impossible(source.file, wanted, decided)
        if given:
            for name in matrices(source.file):
                given.of(name, source.file.tensors[name].shape)   # made with this model, or an error now
        parts = Calibration.of(source.tokenizer.encode(text), source.tokenizer.bos if source.tokenizer.add_bos else None)
        importance = given or Importance.of_sums(last("measuring inputs, windows:", squares(source, parts.used), len(parts.used), quiet).of)
        with status("measuring what errors do, groups of matrices:", 0.0, wanted=not quiet) as advance:
            found = factors(source, matrices(source.file), importance, parts.ids, advance)
        weights = sum(math.prod(tensor.shape) for tensor in source.file.tensors.values())
        with (
            phases(str(path), quiet) as compiling,
            encoders(weights, compiling),
            status("trying types, matrices:", 0.0, wanted=not quiet) as advance,
        ):
            judged = options(source.file, wanted, decided, importance, found, machine.threads(threads).count, advance)
    return Measured(wanted, decided, importance, judged, parts, threads, quiet)
