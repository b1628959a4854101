"""Searches and suites: queues of `fit` processes, in slots of this machine or on a Ray cluster."""
