"""What clients can ask for: one file per noun, from parameters to a handle and back to fields."""
