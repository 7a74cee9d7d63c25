"""Cameras of this machine, as the kernel shows them: nodes, capabilities, identities, controls."""
