"""The event log: every event has a number and is kept, in memory and on disk, within bounds.

Others use `event_log.open_event_log`, the `EventLog` that it gives, and from `rules` the history
and the filter. Knows no kinds of events and no sockets.
"""
