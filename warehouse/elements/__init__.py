"""Station 2: data elements become rows of the long table."""
