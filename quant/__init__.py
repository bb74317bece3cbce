"""Floor 5: better model files, and the evidence of what was lost. Uses `edgerun` as any program does: never its command line.

`convert` makes model files of checkpoints, `quantize` smaller ones of model files as `plan` and `recipes` say, `importance` and
`squares` tell which weights matter. `divergence` says how far one model's predictions are from another's; it is the yardstick for
everything that makes a model smaller or faster.
"""
