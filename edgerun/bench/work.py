"""What a test has to move and to multiply, counted from the program. Knows no clock and no machine."""

from __future__ import annotations

from edgerun.backends.executor import PAGE, MemoryPlan
from edgerun.bench.grammar import Case
from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.program import Cache, Program


@dataclass(frozen=True)
class Work:
    """weights: bytes of weights that every step reads; body: multiplications of matrices per row; head: per row of logits;
    memory: (bytes per position, window) of each layer's keys and values; stacks: (bytes of an expert, experts, used by a row) of each
    layer that has some, of which a step reads as many as its rows use at most.

    Attention multiplies floats, so it is not among the multiplications: these are what integer instructions do.
    """

    weights: int
    body: int
    head: int
    memory: tuple[tuple[float, int | None], ...]
    stacks: tuple[tuple[float, int, int], ...] = ()

    @classmethod
    def of(cls, program: Program, plan: MemoryPlan, pages: int) -> Work:
        """That of a program with a memory plan for so many pages."""
        body = head = matrices = 0
        layers: list[tuple[int, int, int]] = []   # as `stacks`, but numbers instead of bytes
        selected = False
        for op in program.ops:
            selected = selected or isinstance(op, ops.Select)
            if isinstance(op, ops.Linear):
                macs = op.x.width * op.out.width
                head, body = (head + macs, body) if selected else (head, body + macs)
                matrices += macs
            elif isinstance(op, ops.Experts):
                each_expert = op.cols * op.out.width // op.used
                macs = op.used * each_expert
                head, body = (head + macs, body) if selected else (head, body + macs)
                matrices += op.count * each_expert
                layers.append((each_expert, op.count, op.used))
        floats = sum(_floats(cache) for cache in program.caches)
        each = plan.kv / (pages * PAGE * floats) if floats and pages else 0.0
        memory = tuple((each * _floats(cache), cache.window) for cache in program.caches)
        size = plan.weights / max(1, matrices)   # bytes of a number, on average
        stacks = tuple((size * numbers, count, used) for numbers, count, used in layers)
        return cls(plan.weights - round(sum(size * count for size, count, _ in stacks)), body, head, memory, stacks)

    def read(self, rows: int) -> float:
        """Bytes of weights that a step of so many rows reads."""
        return self.weights + sum(size * min(count, rows * used) for size, count, used in self.stacks)

    def macs(self, case: Case) -> int:
        """Multiplications of a test: logits are made for the last row of a prompt and for every token after it."""
        return self.body * case.tokens + self.head * (bool(case.prompt) + case.gen)

    def nbytes(self, case: Case, rows: int) -> float:
        """Bytes a test reads, with so many rows of prompt per step: weights once per step, keys and values once per step."""
        steps = [(min(rows, case.prompt - at), case.depth + min(at + rows, case.prompt)) for at in range(0, case.prompt, rows)]
        steps += [(1, end) for end in range(case.depth + case.prompt + 1, case.depth + case.tokens + 1)]
        return sum(self.read(n) for n, _ in steps) + sum(size * sum(min(end, window or end) for _, end in steps) for size, window in self.memory)

    def token_bytes(self, depth: int) -> float:
        """Bytes that one token reads behind so many others."""
        return self.nbytes(Case(0, 1, depth), 1)


def _floats(cache: Cache) -> int:
    """Numbers per position."""
    return cache.kv_heads * (cache.key_width + cache.value_width)
