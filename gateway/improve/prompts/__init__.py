"""Shorter prompts that mean the same: what is code, quoted or data is never touched."""
