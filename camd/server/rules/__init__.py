"""Pure: limits of connections and calls, validation of requests, order of answers."""
