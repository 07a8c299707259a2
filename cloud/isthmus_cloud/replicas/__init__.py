"""Tails on the replicas of a Ray cluster; `ray` itself is imported where a cluster is joined.

settings      what can be asked for
cluster       Ray, started here or joined (joining, own_node)
applications  which applications of Ray Serve a front end uses: found or made, kept, let go
leases        which front ends use which application
serving       what is asked of Ray Serve and of the leases
application   a bundle version as an application: what is deployed (naming: as what)
replica       what runs there: decodes, runs, answers calls
calls         what crosses
caller        makes one call of a batch, and another where a replica dies
tails         a bundle version as the service knows it
"""
