"""Commands that prepare a machine: a first configuration, and a trial of the whole recorder."""
