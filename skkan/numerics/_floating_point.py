"""Limits of floating-point numbers."""

# Divisors that may vanish are raised to it: it changes no other one, and its inverse
# is finite. Then 0 / 0 is 0.
SMALLEST_DIVISOR = 1e-300
