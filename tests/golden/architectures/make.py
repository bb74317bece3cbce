"""Makes the golden cases of this folder: `python make.py NAME...`, with transformers and torch installed.

A case is a row of `CASES` in a file of this folder beside this one: a transformers configuration, the metadata and shapes of the
GGUF file that llama.cpp's converter would make of such a checkpoint, and the way back from its tensors to the checkpoint's.
transformers computes the logits in float64.

`python make.py --from FOLDER NAME` takes metadata and shapes from FOLDER/model.gguf instead, and the logits from the reference
backend, after that has reproduced FOLDER/golden.npz, which transformers made, to an NMSE of 1e-10.

`python make.py --check DIR NAME...`, with gguf and llama-cpp-python installed, writes finished cases as GGUF files there and says
how far llama.cpp is from their logits.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[2]), str(HERE.parents[1] / "models")]

from recipe import Recipe  # noqa: E402

LENGTHS = (1, 9, 33, 80)
OWN = ("general.", "tokenizer.", "xielu.")   # keys that do not begin with the architecture
Tensors = dict[str, np.ndarray]


@dataclass
class Case:
    """What a checkpoint is in both worlds.

    model: makes the transformers model (called without gradients, in float64). metadata: keys without the architecture's prefix,
    unless their first word is one of OWN. state: GGUF tensors (float64) to the state dict;
    what it leaves out has to be tied or a buffer. windows: edges around which logits are kept too.
    """

    architecture: str
    model: Callable[[], Any]
    metadata: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    state: Callable[[Tensors], Tensors]
    windows: tuple[int, ...] = ()
    spreads: list[tuple[str, float, float | None]] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def recipe(self) -> Recipe:
        """The case without logits yet."""
        own = {key if key.startswith(OWN) else f"{self.architecture}.{key}": value for key, value in self.metadata.items()}
        return Recipe({"general.architecture": self.architecture, **own}, self.shapes, [], self.spreads, self.values)


def per_layer(layers: int, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes of `layers` equal layers, named without "blk.N."."""
    return {f"blk.{i}.{name}": shape for i in range(layers) for name, shape in shapes.items()}


def renamed(tensors: Tensors, layers: int, names: dict[str, str], model: str = "model", block: str = "layers") -> Tensors:
    """The state dict where only names differ: of the layers as `names` says (GGUF to transformers), and the usual ones around them."""
    outer = {"token_embd.weight": f"{model}.embed_tokens.weight", "output_norm.weight": f"{model}.norm.weight", "output.weight": "lm_head.weight"}
    state = {there: tensors[here] for here, there in outer.items() if here in tensors}
    for i in range(layers):
        state |= {f"{model}.{block}.{i}.{there}": tensors[f"blk.{i}.{here}"] for here, there in names.items() if f"blk.{i}.{here}" in tensors}
    return state


def unpermuted(w: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k as the checkpoint has them, of those that the converter permuted so that rope turns neighbours."""
    half = w.shape[0] // heads // 2
    return w.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(w.shape)


def sequences(n_vocab: int, windows: tuple[int, ...], logits: Callable[[np.ndarray], np.ndarray]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Random tokens of several lengths and what `logits` says of them, at the ends and around windows."""
    result = []
    for n in LENGTHS:
        tokens = np.random.Generator(np.random.Philox(key=n)).integers(0, n_vocab, n).astype(np.int32)
        edges = [e for w in (0, *windows, n) for e in range(w - 3, w + 3)]
        positions = np.array(sorted({e for e in edges if 0 <= e < n}), np.int32)
        result.append((tokens, positions, logits(tokens)[positions]))
    return result


def by_transformers(case: Case) -> Recipe:
    """Logits of the checkpoint's own code."""
    import torch

    recipe = case.recipe()
    tensors = {name: tensor.values.astype(np.float64) for name, tensor in recipe.tensors().items()}
    torch.manual_seed(0)
    model = case.model().double().eval()
    state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in case.state(tensors).items()}
    found = model.load_state_dict(state, strict=False)
    tied = set(getattr(model, "all_tied_weights_keys", {}) or {})
    missing = [name for name in found.missing_keys if name not in tied]
    assert not [*missing, *found.unexpected_keys], (missing, found.unexpected_keys)

    def logits(tokens: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            output = model(torch.from_numpy(tokens.astype(np.int64))[None], use_cache=False)
        rows = output.logits if hasattr(output, "logits") else output.last_hidden_state   # of an encoder
        return rows[0].double().numpy()

    recipe.sequences.extend(sequences(case.shapes["token_embd.weight"][0], case.windows, logits))
    return recipe


def by_reference(folder: Path) -> Recipe:
    """Logits of the reference backend, for the metadata and shapes of a file whose golden logits it reproduces."""
    from oracle_case import FileCase, run

    from edgerun.backends import reference
    from edgerun.gguf import open_gguf
    from edgerun.graph.lower import lower
    from edgerun.models import spec_from

    case = FileCase(folder)
    assert (nmse := case.nmse(reference.compile(lower(case.spec(), case.shapes), case.tensors, pages=3))) < 1e-10, nmse
    with open_gguf(folder / "model.gguf") as file:
        metadata = {k: _plain(v) for k, v in file.metadata.items() if not k.startswith(("general.", "tokenizer.", "split."))}
        metadata["general.architecture"] = file.metadata["general.architecture"]
        shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
        values = {name: case.read(name).reshape(-1).tolist() for name in shapes if name.startswith("rope_f")}
    recipe = Recipe(metadata, shapes, [], [], values)
    tensors = recipe.tensors()
    spec = spec_from(metadata, shapes, lambda name: tensors[name].values)
    program = lower(spec, shapes)
    windows = {w for k, w in metadata.items() if k.endswith("sliding_window") and isinstance(w, int)}
    recipe.sequences.extend(sequences(program.n_vocab, tuple(windows), lambda tokens: run(reference.compile(program, tensors, pages=3), tokens, 1000)))
    return recipe


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else [_plain(v) for v in value]


def write_gguf(recipe: Recipe, path: Path) -> None:
    """The file, with a vocabulary of no tokens, so that llama.cpp loads it."""
    import gguf

    architecture = recipe.metadata["general.architecture"]
    writer = gguf.GGUFWriter(path, architecture)
    metadata = {f"{architecture}.vocab_size": recipe.shapes["token_embd.weight"][0], "tokenizer.ggml.model": "no_vocab", **recipe.metadata}
    for key, value in metadata.items():
        if key == "general.architecture":
            continue
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string, list: writer.add_array}[type(value)]
        add(key, value)
    for name, tensor in recipe.tensors().items():
        writer.add_tensor(name, tensor.values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_cpp_nmse(recipe: Recipe, path: Path) -> float:
    """How far llama.cpp's logits are from the golden ones: float32 memory, no flash attention, one thread."""
    import llama_cpp as L

    L.llama_backend_init()
    params = L.llama_model_default_params()
    params.use_extra_bufts = False
    model = L.llama_model_load_from_file(str(path).encode(), params)
    assert model, "llama.cpp does not load the file"
    options = L.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch, options.n_threads, options.n_threads_batch = 256, 256, 256, 1, 1
    options.type_k = options.type_v = 0
    options.flash_attn_type = 0
    n_vocab, off, total = recipe.shapes["token_embd.weight"][0], 0.0, 0.0
    for tokens, positions, golden in recipe.sequences:
        context = L.llama_init_from_model(model, options)
        batch = L.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens.tolist()):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
        assert L.llama_decode(context, batch) == 0
        for position, row in zip(positions.tolist(), golden, strict=True):
            logits = np.ctypeslib.as_array(L.llama_get_logits_ith(context, position), (n_vocab,)).astype(np.float64)
            off, total = off + ((logits - row) ** 2).sum(), total + (row.astype(np.float64) ** 2).sum()
        L.llama_batch_free(batch)
        L.llama_free(context)
    L.llama_model_free(model)
    return off / total


def cases() -> dict[str, Case]:
    """Every case by name, from the files beside this one."""
    found: dict[str, Case] = {}
    sys.modules["make"] = sys.modules[__name__]
    for path in sorted(HERE.glob("*.py")):
        if path.stem != "make":
            found |= runpy.run_path(str(path)).get("CASES", {})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--from", dest="folder", type=Path)
    parser.add_argument("--check", type=Path)
    arguments = parser.parse_args()
    for name in arguments.names:
        path = HERE / f"{name}.npz"
        if arguments.check:
            recipe, file = Recipe.load(path), arguments.check / f"{name}.gguf"
            write_gguf(recipe, file)
            print(f"{name}: llama.cpp's NMSE is {llama_cpp_nmse(recipe, file):.1e}")
            continue
        recipe = by_reference(arguments.folder) if arguments.folder else by_transformers(cases()[name])
        recipe.save(path)
        spread = np.concatenate([logits for *_, logits in recipe.sequences]).std()
        print(f"{name}: {path.stat().st_size / 1000:.0f} kB, logits spread by {spread:.2f}")


if __name__ == "__main__":
    main()
