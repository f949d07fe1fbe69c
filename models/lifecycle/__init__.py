"""What every family shares: the contract of a family, evaluation, the gate, the card."""
