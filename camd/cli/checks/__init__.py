"""Parts of `camd check` that look at one thing each, such as the folders or the cameras.

`camd.cli.check` puts them together. Each returns findings (`finding.CheckFinding`), raises nothing
and changes nothing.
"""
