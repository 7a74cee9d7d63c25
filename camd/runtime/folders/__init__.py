"""A folder that camd owns: locked by one process, and of a format that this camd knows."""
