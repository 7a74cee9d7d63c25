"""The web page that people see in a browser, as package data: HTML, CSS, and ES modules.

There is no build step. `camd/api/http/web_pages.py` serves the files. `views` has the views of the
page, `timeline` the time line, `player` what shows video, `lib` what they share, `vendor` Preact.
"""
