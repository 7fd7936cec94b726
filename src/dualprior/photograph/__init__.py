"""A person's own photograph, damaged already: read it, restore it at its own size, say how large the error is."""
