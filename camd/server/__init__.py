"""Listening sockets, HTTP, WebSockets and JSON-RPC calls on them; knows no method by name.

Others use `accepting.open_server`, `listeners.ListenError` and, in the client, `websocket`.
`rules` is pure.
"""
