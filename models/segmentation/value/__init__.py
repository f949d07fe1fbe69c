"""What a customer is worth: purchases that come (BG/NBD, Gamma-Gamma) and subscriptions that last (survival)."""
