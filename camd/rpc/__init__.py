"""Pure: JSON-RPC 2.0: from bytes to calls, roles, strict parameters. Knows no method."""
