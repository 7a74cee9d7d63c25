"""Pure: the schema of results and notifications: fields, one class for each kind of value.

A method names the class of its result (`@method(result=…)`); the client library makes values of
these classes; the OpenRPC document and the tables of docs/api.md are made from them. Others use the
classes, and `Doc`, `Time` and `wire_name` of `result_types`.
"""
