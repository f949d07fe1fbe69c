"""What is learned from the ledger about money: forecasts of the bill, budgets, what is unusual and why."""

NAME = "spend"
"""The registered model that forecasts the bill; it belongs to the family `forecasting`."""
