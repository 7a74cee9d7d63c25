"""Carries out the retention policy, and keeps a log of it."""
