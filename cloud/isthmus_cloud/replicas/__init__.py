"""Tails on the replicas of a Ray cluster; `ray` itself is imported where a cluster is joined.

settings     what can be asked for
cluster      Ray, started here or joined
application  a bundle version as an application of Ray Serve
replica      what runs there: decodes, runs, answers calls
calls        what crosses
caller       makes one call of a batch, and another where a replica dies
tails        a bundle version as the service knows it
leases       which front ends use which application
"""
