"""Retention: the policy, and the cleanups that carry it out.

Others use `cleanup.Retention`; what a cleanup removes is decided in
`camd.storage.rules.retention_plan` (pure).
"""
