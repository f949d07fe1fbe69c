"""How good an answer of a language model is, 0 to 1: told from the words alone, and learned from feedback."""
