"""Measuring models on this machine: what was asked for, the runs, what they amount to. Knows no terminal and no option by its help.

`grammar` reads what was typed, `runner` holds the clock, `work` says what a test moves and multiplies, `result` divides the two,
`report` and `roofline` write it down; `inspection` is what `edgerun doctor` tells.
"""
