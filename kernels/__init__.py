"""What runs on the device: one folder for each op, and the registry that chooses among them.

Owns: contracts of the ops, their references and fast implementations. Must not know: requests,
models, schedulers. This module stays empty of imports and of version attributes: see
`kernels.name_clash` for why.
"""
