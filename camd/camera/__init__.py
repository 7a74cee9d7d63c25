"""One actor per camera, and all cameras together."""
