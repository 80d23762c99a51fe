"""The control plane: what becomes of a batch that a client has ordered.

Plain coroutines, each of which may be killed anywhere, run again, and run twice at a time. What
calls them is jobs/lifecycle.py.
"""
