"""What the data is: contracts, ingestion, snapshots, point-in-time views, the demo world."""
