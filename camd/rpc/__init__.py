"""JSON-RPC 2.0 as pure code: bytes to calls, roles, strict parameters. Knows no method."""
