"""Pure: JSON-RPC 2.0: messages, strict parameters, roles, declaration of methods.

Knows no method by name. Others use `registry` (`method`, `Registry`, `Caller`, `Notification`),
`roles` (`Role`, `Principal`) and, in the server, `codec`.
"""
