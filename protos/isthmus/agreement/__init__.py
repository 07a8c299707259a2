"""What it means that answers agree with those of the unsplit fp32 network, and how sure that is."""
