"""Floor 1: the GGUF file, read (`open_gguf`) and written (`GGUFWriter`). Knows no architecture, tokenizer or kernel."""

from edgerun.gguf.gguf import GGUF, open_gguf
from edgerun.gguf.metadata import Metadata
from edgerun.gguf.tensor import Tensor
from edgerun.gguf.writer import GGUFWriter

__all__ = ["GGUF", "GGUFWriter", "Metadata", "Tensor", "open_gguf"]
