"""Recording by the calendar: windows that recur every week start and stop sessions.

Others use `camd.schedules.schedules`: `open_schedules` and the handle that it gives. `rules` is
pure: when a window is open, and what follows from that for a camera.
"""
