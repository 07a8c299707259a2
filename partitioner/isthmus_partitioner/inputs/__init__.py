"""Where the items come from that a network is fitted to and judged on."""
