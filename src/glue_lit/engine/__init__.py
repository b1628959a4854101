"""Many trainings: a queue of `fit` processes, on slots of this machine or on a Ray cluster."""
