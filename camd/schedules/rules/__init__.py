"""Pure: when a schedule's window is open, and what that means for a camera's session."""
