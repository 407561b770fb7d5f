"""Pure modules by subject; stages call them, they know no stage."""
