"""Which layers of a head run in int8, and which in fp32."""
