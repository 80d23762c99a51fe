"""The other package called `kernels`.

Owns: the check that start-up makes before it imports transformers. Must not know: transformers.

A package of that name on PyPI serves transformers, which imports it where it finds its metadata, or
a `__version__` in whatever `import kernels` gives it. With both installed, transformers finds the
metadata of the one and the code of the other, and dies of an ImportError somewhere inside; and the
other way round, that package can hide this one. So: no `__version__` in `kernels/__init__.py`; no
release of headrace numbered as transformers expects of that package (transformers asks for the
version of whichever distribution holds a package `kernels`); and this check.
"""

from importlib.metadata import PackageNotFoundError, version

from kernels.errors import NameClashError

__all__ = ["check_name_clash"]


def check_name_clash() -> None:
    """Raises NameClashError, one sentence that says what to do, if a distribution called `kernels`
    is installed where this process looks for packages.
    """
    try:
        other = version("kernels")
    except PackageNotFoundError:
        return
    raise NameClashError(
        f"the installed package 'kernels' {other} has the name of a package inside headrace and "
        "transformers would mix up the two: use an environment without it, or run "
        "`pip uninstall kernels` and then `pip install --force-reinstall --no-deps headrace`"
    )
