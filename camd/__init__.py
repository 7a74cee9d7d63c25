"""camd records cameras: every frame is in a file, or in the ledger that says why not.

`daemon` has the parts of the service; docs/architecture.md has the map of all packages.
"""

__version__ = "0.1.0"
