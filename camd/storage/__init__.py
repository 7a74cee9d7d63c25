"""The disk: names, levels, segments being written, the catalog, and the guard over it all."""
