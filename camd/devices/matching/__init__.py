"""Pure: which camera has which device, and what people are told about it."""
