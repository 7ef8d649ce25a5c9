"""How values are written for people, as pure text."""
