"""Churn: who is likely to leave, how sure that is, and whom an offer pays for."""
