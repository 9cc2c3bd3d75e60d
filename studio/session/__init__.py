"""Between the window and the core: jobs as generators of messages, a control to steer one, a mailbox to hand over.

Threads are known here, Qt is not. ``control`` stops, pauses and single-steps; ``mailbox`` is the bounded hand-over from
a worker to the window; ``jobs`` are the things that may run.
"""
