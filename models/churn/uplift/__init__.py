"""What an offer changed, customer by customer, learned from a campaign that was handed out at random."""
