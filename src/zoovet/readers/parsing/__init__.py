"""What is inside a file from a stranger, by Python's standard library alone.

This runs in a process of its own (:mod:`zoovet.readers.isolation`), which is why nothing here imports torch or numpy,
but for :mod:`.hdf5_file`, which has a process to itself: such a process starts in a twentieth of a second and is forked
in a millisecond. No number is computed with and nothing in a file is ever called: what comes out says what the file
holds and where in it the numbers lie.
"""
