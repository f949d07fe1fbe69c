"""How a prompt finds a model: what is asked, which model answers, the call itself, and what it cost."""
