"""Cameras of this machine: detects devices, matches them to cameras, queries and describes them.

`monitor.open_monitor` lists the devices that are plugged in, `matching.match.assign` gives them to
cameras, `binding_store` keeps that, `listing` describes it. `query` speaks V4L2 to a node; what it
says is parsed in `v4l2`. `holders` knows which processes have a device open.
"""
