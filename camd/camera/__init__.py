"""One actor per camera, and all cameras together: their bindings, and unfinished work.

Unfinished work: sessions and conversions that an earlier run of the daemon left.

Others use `Cameras` and `open_cameras` (`cameras`), `Camera` (`camera`), `DeviceBinder` and
`open_binder` (`bindings`), and `open_unfinished_work` (`unfinished`).
"""
