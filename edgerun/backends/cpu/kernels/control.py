"""The control block that caller and workers share, in 8-byte words. Shared by kernels, `run.py` and `pool.py`; imports nothing.

    PHASES, COUNT, CLAIMS, DONES    address and number of the phases; counters, one cache line each
    YIELD, THREADS                  address of sched_yield; how many threads walk
    BELL                            the epoch that is under way, -1 to stop; on a cache line of its own
"""

PHASES, COUNT, CLAIMS, DONES, YIELD, THREADS, BELL = 0, 1, 2, 3, 4, 5, 8
PHASE = 32   # bytes of a phase: kernel, arguments, chunks in even epochs, chunks in odd epochs
GROUP = 16   # rows whose quantized activations lie side by side (`activations.py`)
SHARED, TURNS = 64, 8   # tokens that a matrix has as many chunks for as for one, and how many times as many it may have
MOST_WINDOWS = 32   # of a block in `repack.py`, which stages them on the stack
MOST_EXPERTS = 1024   # of a layer: `grouping.py` and `route.py` keep a few numbers for each on the stack
ENTRY = 16            # bytes of an entry of the table in `grouping.py`
GATHERED = 4          # slots that a chunk of `gather.py` copies

# Words of what `panel.py` has of a matrix that lies as in the file, and of its rooms.
READY, STRIDE, BLOCKS, ROWS, SIZE, TABLE, ROOMS, SOURCE, EDGE, FD, OFFSET, TARGET, DONE = range(13)
RECORD = 128   # bytes of it
ROOM_COUNT, ROOM_BYTES, PANEL, REPACK, PREAD, WRITING, FAILED = range(7)
