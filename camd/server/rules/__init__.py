"""Pure: limits of connections and rates, allowed upgrades, the order of answers."""
