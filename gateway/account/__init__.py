"""What it costs and who pays: token counts, prices, budgets, rate limits, the ledger of every call, privacy."""
