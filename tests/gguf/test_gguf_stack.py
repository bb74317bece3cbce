"""Old files with a tensor for each expert look as later ones do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgerun.gguf import GGUFWriter, open_gguf


def written(path: Path, **tensors: np.ndarray) -> Path:
    """A file of these tensors of layer 0; '__' stands for '.'."""
    with GGUFWriter(path / "m.gguf") as writer:
        for name, values in tensors.items():
            writer.add_tensor(f"blk.0.{name.replace('__', '.')}.weight", values)
    return path / "m.gguf"


def experts(count: int) -> list[np.ndarray]:
    """Different matrices of 3 rows, whose bytes are no multiple of the alignment."""
    return [np.arange(15, dtype=np.float32).reshape(3, 5) + 100 * i for i in range(count)]


def test_experts_become_a_stack_where_the_first_of_them_stood(tmp_path: Path) -> None:
    a = experts(11)   # ten and more: numbers are no text to be sorted
    parts = {f"ffn_up__{i}": a[i] for i in [10, *range(10)]}
    with open_gguf(written(tmp_path, attn_q=a[0], **parts, ffn_norm=a[0][0])) as file:
        assert list(file.tensors) == ["blk.0.attn_q.weight", "blk.0.ffn_up_exps.weight", "blk.0.ffn_norm.weight"]
        stack, want = file.tensors["blk.0.ffn_up_exps.weight"], np.concatenate(a)
        assert (stack.shape, stack.rows, stack.nbytes, stack.type_name) == ((11, 3, 5), 33, 660, "F32")
        for start, stop in [(0, None), (0, 0), (33, 33), (4, 4), (2, 4), (3, 6), (5, 31), (32, 33)]:
            assert stack.read(start, stop).view(np.float32).tolist() == want[start:stop].tolist()
        for start, stop in [(-1, 2), (0, 34), (3, 2)]:
            with pytest.raises(ValueError, match="which has 33"):
                stack.read(start, stop)


@pytest.mark.parametrize(
    "parts",
    [
        {"ffn_up__1": experts(1)[0], "ffn_up__2": experts(1)[0]},
        {"ffn_up__0": experts(1)[0], "ffn_up__2": experts(1)[0]},
        {"ffn_up__0": experts(1)[0], "ffn_up__1": experts(1)[0][:2]},
        {"ffn_up__0": experts(1)[0], "ffn_up__1": experts(1)[0].astype(np.float16)},
        {"ffn_up__0": experts(1)[0], "ffn_up_exps": experts(1)[0]},
        {"ffn_up__0": experts(1)[0][0]},
        {"ffn_up__00": experts(1)[0], "ffn_up__1": experts(1)[0]},
        {"ffn_up__0__0": experts(1)[0], "ffn_up": experts(1)[0], "attn_q__0": experts(1)[0]},
    ],
)
def test_what_makes_no_stack_stays_as_it_is(tmp_path: Path, parts: dict[str, np.ndarray]) -> None:
    with open_gguf(written(tmp_path, **parts)) as file:
        assert list(file.tensors) == [f"blk.0.{name.replace('__', '.')}.weight" for name in parts]
