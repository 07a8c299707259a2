"""Sessions and the streams that carry them, without a transport."""
