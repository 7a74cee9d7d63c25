"""The recordings volume: its level, its files, and what is known about them."""
