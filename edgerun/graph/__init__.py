"""Floor 2: what a model computes, as data (`ops`, `program`), and how a spec becomes it (`lower`)."""
