"""Sockets, HTTP, WebSockets and the calls on them; knows no method by name."""
