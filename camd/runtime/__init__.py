"""What every actor needs: mailboxes, published values, events, restarts. Knows no cameras."""
