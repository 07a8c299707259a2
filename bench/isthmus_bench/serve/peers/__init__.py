"""Other servers of whole models: installed, started, and asked by the Open Inference Protocol.

`*_server.py` are their programs. They run in environments of their own, under which nothing of
Isthmus is installed, so they import nothing of it.
"""
