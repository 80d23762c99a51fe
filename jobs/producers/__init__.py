"""Where jobs come from: reading and checking of input files, the order in which their lines are
enqueued, the rows that an earlier run has already computed.
"""
