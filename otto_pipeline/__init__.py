"""otto_pipeline: from a raw session log to the items each session will click, cart and order."""
