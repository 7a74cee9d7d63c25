"""HTTP routes: the web page, live view, playback, exports, files, health, metrics, sign-in.

Also the methods about credentials: sign-in codes and API keys.
"""
