"""What an oracle wrote, read as an intervention: its tag, the JSON in it, the location and the content."""
