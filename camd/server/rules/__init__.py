"""Pure: limits of connections and calls, checks of requests, order of answers."""
