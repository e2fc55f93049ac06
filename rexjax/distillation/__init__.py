"""The teacher's lists, and what a student learns from them."""
