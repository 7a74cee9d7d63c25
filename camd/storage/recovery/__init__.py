"""Recovery of files after a crash, and reconciling a folder with its index.

`file_recovery` repairs one file; `reconcile` compares a whole folder, in the background or
(`offline`, for `camd recover`) while no service runs.
"""
