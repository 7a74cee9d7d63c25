"""Authentication: API keys, signed tokens, and delays after wrong keys.

Others use `authenticator` (`Authenticator`, `open_authenticator`), `key_file` and `tokens`.
"""
