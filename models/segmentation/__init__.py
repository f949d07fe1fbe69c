"""Segments of customers by their behaviour, stable in number and name, and what each customer is worth."""
