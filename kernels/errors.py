"""The errors of this package.

KernelError(RuntimeError)
├── UnknownOpError          the registry has no op of that name
├── AlreadyRegisteredError  two implementations claim the same op and device type
└── NameClashError          another installed package is called `kernels` too
"""

__all__ = ["AlreadyRegisteredError", "KernelError", "NameClashError", "UnknownOpError"]


class KernelError(RuntimeError):
    """Root of this package's errors."""


class UnknownOpError(KernelError):
    """The registry has no op of that name."""


class AlreadyRegisteredError(KernelError):
    """Two implementations claim the same op and device type."""


class NameClashError(KernelError):
    """Another installed package has the name of this one."""
