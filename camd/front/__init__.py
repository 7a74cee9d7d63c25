"""Where clients connect: sockets, HTTP, WebSockets and the calls on them. Knows no noun."""
