"""Forecasts of many regular series: members, their combination, calibrated intervals."""
