from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest
from objects import I64, kernel

from edgerun.backends.cpu.isa import choose
from edgerun.backends.cpu.native import Linked


def linked() -> Linked:
    add = kernel("add", lambda e, args, chunk: e.put(args, 0, e.b.add(e.word(args, 0), chunk)))
    double = kernel("double", lambda e, args, chunk: e.put(args, 0, e.b.mul(e.word(args, 0), I64(2))))
    return Linked({"first": ("add", add), "second": ("double", double)}, choose())


def test_kernels_are_called_by_their_names() -> None:
    word, code = np.array([5]), linked()
    assert sorted(code.addresses) == ["first", "second"]
    assert code.function("first", 2)(word.ctypes.data, 7) == 0
    assert code.function("second", 2)(word.ctypes.data, 0) == 0
    assert word.tolist() == [24]


def test_a_function_keeps_its_code_in_memory() -> None:
    word, function = np.array([5]), linked().function("first", 2)
    gc.collect()
    function(word.ctypes.data, -6)
    assert word.tolist() == [-1]


def test_the_result_of_a_kernel_comes_back() -> None:
    times = kernel("times", lambda e, args, chunk: e.put(e.b.function.args[0], 0, e.b.mul(args, chunk)))
    assert Linked({"times": ("times", times)}, choose()).function("times", 2)(6, -7) == -42


def test_an_object_without_its_symbol_is_a_bug() -> None:
    with pytest.raises(AssertionError, match=r"no code for \['x'\]"):
        Linked({"x": ("nosuch", kernel("add", lambda e, args, chunk: None))}, choose())


def test_the_interpreter_is_free_while_a_kernel_runs() -> None:
    nap = Linked({"nap": ("nap", kernel("nap", lambda e, args, chunk: e.call("usleep", args)))}, choose())
    sleeper = threading.Thread(target=nap.function("nap", 2), args=(200_000, 0))
    sleeper.start()
    time.sleep(0.02)
    assert sleeper.is_alive()
    sleeper.join()
