"""Configuration: the declared keys, and how a file and the environment become one `Config`.

`load.load_config` reads it; `schema` declares the keys; `values` has the readers of their values;
`changes` says what a reload applies.
"""
