"""What a measurement says, as pure values: readings, limits, and the dicts that travel."""
