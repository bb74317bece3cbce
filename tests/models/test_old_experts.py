"""A Mixtral file from before stacks of experts computes what a later one does."""

from pathlib import Path

from oracle_case import OracleCase, load

from edgerun.backends import cpu, reference
from edgerun.gguf import GGUFWriter, open_gguf
from edgerun.graph.lower import lower


def test_a_tensor_for_each_expert_is_as_good_as_a_stack(tmp_path: Path) -> None:
    new, path = load("llama-experts"), tmp_path / "old.gguf"
    with GGUFWriter(path) as writer:
        for key, value in new.metadata.items():
            writer.add(key, value)
        for name in new.tensors:
            values = new.read(name)
            if "_exps" in name:
                for i, matrix in enumerate(values):
                    writer.add_tensor(name.replace("_exps", f".{i}"), matrix)
            else:
                writer.add_tensor(name, values)
    with open_gguf(path) as file:
        old = OracleCase()
        old.tensors, old.metadata, old.sequences = file.tensors, dict(file.metadata), new.sequences
        program = lower(old.spec(), old.shapes)
        assert old.nmse(reference.compile(program, old.tensors, pages=3)) < 1e-11
        executor = cpu.compile(program, old.tensors, pages=3, max_rows=512, threads=1, numerics="fast", kv="f32")
        assert old.nmse(executor) < 1e-3
        executor.close()
