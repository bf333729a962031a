"""Batches out of what is waiting: the vectorized methods, between the transport and the engine.

estimate   how long a model's run will take, by what it took
inputs     what a model has to be like for its calls to be put into one batch
lane       the batches of one model as one method speaks of it: in the loop, or on a worker thread
methods    ModelInfer and Predict: messages into lanes
workers    the threads of long runs
"""
