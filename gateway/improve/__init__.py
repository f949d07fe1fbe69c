"""What the gateway learns while it runs: feedback, quality of answers, shares of traffic."""
