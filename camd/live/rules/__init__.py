"""Pure rules of live view: how far a viewer may be behind, and the messages that it gets."""
