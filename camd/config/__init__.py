"""Configuration: its classes, and how a file and the environment become one valid value."""
