"""Front ends, replicas and devices as discrete events: what a fleet that is not here would do.

plan     what is simulated
uplink   when a frame that a device sends has arrived, over a trace
turns    the frames that wait at a front end, and which of them go together
cell     the events
"""
