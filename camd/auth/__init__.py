"""Authentication: API keys, signed tokens, and delays after wrong keys.

Others use `authenticator` (`Authenticator`, `open_authenticator`), `peer_roles`, `key_file` and
`tokens`.
"""
