"""lowkey in Python. Here now: lowkey.adapt, which trains models for low-rank attention."""
