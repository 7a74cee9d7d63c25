"""Metrics in Prometheus' text format: what is counted, and how it is written.

`totals` counts what happens to recordings, by the events of the daemon; `exposition` makes metric
families of frozen values. Names and labels are a contract with dashboards and alert rules.
"""
