"""The page that people see in a browser, as package data: HTML, CSS, and ES modules.

There is no build step. `camd/api/http/web_pages.py` serves the files.
"""
