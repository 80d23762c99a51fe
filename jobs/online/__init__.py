"""Requests of clients that wait: the same queue, one permanent batch for each tenant."""
