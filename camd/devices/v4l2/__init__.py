"""Pure: V4L2 structures, paths of nodes, formats, control values, and the inventory of nodes."""
